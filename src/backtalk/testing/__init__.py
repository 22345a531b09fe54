"""Checks for plug-ins: properties that every format, model, reward, decoder ... must have.

Subclass the laws in a test module, as ``class TestParrot(ModelLaws)``, or call the checks:

>>> from backtalk.embedders import HashedTfidf
>>> from backtalk.testing import check_embedder
>>> check_embedder(HashedTfidf.fit(["open at nine"], dimension=16), ["open", "closed", ""])

The checks of objectives need ``backtalk[train]``; import them from ``backtalk.testing.objectives``.
"""

from backtalk.testing.decoders import DecoderLaws, check_decoder
from backtalk.testing.embedders import EmbedderLaws, check_embedder
from backtalk.testing.formats import FormatLaws, check_format
from backtalk.testing.methods import MethodLaws, check_method
from backtalk.testing.models import ModelLaws, check_model
from backtalk.testing.rewards import RewardLaws, check_oracle, check_reward
from backtalk.testing.worlds import WorldLaws, check_world

__all__ = [
    "DecoderLaws",
    "EmbedderLaws",
    "FormatLaws",
    "MethodLaws",
    "ModelLaws",
    "RewardLaws",
    "WorldLaws",
    "check_decoder",
    "check_embedder",
    "check_format",
    "check_method",
    "check_model",
    "check_oracle",
    "check_reward",
    "check_world",
]
