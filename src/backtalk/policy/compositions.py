"""Compositions of a prompt, of which a small model selects one for each request."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from backtalk.feedback.record import Name, OptionalField, Record
from backtalk.policy.prompt_template import PromptTemplate


class Composition(Record):
    """Values of the slots of a prompt, with a name."""

    name: Name
    """Parts that it has, in a few words, such as `rules + demonstrations`."""
    system: OptionalField[Name] = None
    """Instruction."""
    prompt: OptionalField[PromptTemplate] = None
    """Other slots."""


class PromptCompositions(Record):
    """Compositions of a policy's prompt, with the model that selects one for each request.

    Where the selector cannot be read, the policy's own `system` and `prompt` are used.
    """

    selector: Name
    """Artifact id of the model that predicts the score of each composition for a request."""
    choices: Annotated[tuple[Composition, ...], Field(min_length=2)]
    """Compositions, in the order of the selector's predictions."""
    explore: Annotated[float, Field(ge=0, le=0.5)] = 0.05
    """Probability with which a composition other than the best predicted one is shown in use, so
    that feedback on the others goes on. Evaluations explore none. Default: 0.05."""
