"""How a policy spends compute when it answers."""

from typing import Annotated

from pydantic import Field

from backtalk.decode.base import Decoded, Decodes
from backtalk.decode.best_of_n import BestOfN
from backtalk.decode.sample import Sample

Decoder = Annotated[Sample | BestOfN, Field(discriminator="kind")]
"""Any decoder, as a policy holds it."""

__all__ = ["BestOfN", "Decoded", "Decoder", "Decodes", "Sample"]
