"""Base class and registry of decoders.

A decoder decides how a policy spends compute on an answer. It is a record, so that a policy can
hold it as JSON.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from pydantic import BeforeValidator, SerializeAsAny, ValidationError

from backtalk.artifacts import Artifacts
from backtalk.errors import BacktalkError
from backtalk.feedback.interaction import MemoryUse, Prompt
from backtalk.feedback.record import Record, explain
from backtalk.models.protocol import Completion, Model, Sampling, Usage
from backtalk.registry import Registry

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from backtalk.rewards import Reward


@dataclass(frozen=True)
class DecoderOutput:
    """Answer to a prompt, with the candidates that it was selected from."""

    candidates: tuple[Completion, ...]
    chosen: int
    """Index of the answer among the candidates."""
    scores: NDArray[np.float64] | None = None
    """Scores by which the answer was selected, shape ``(candidates,)``; ``None`` if there was no
    selection."""
    memory: tuple[MemoryUse, ...] = ()
    """Memory entries that applied to the prompt; set by the loaded policy."""
    prompt_version: str | None = None
    """Version of the composition of the prompt that was selected; set by the loaded policy, and
    ``None`` if the policy has one prompt."""
    prompt_propensity: float | None = None
    """Probability with which it was selected."""
    rewritten_request: str | None = None
    """Last request of the user as the model read it; ``None`` if it was not rewritten."""
    other_usage: Usage = field(default_factory=Usage)
    """Usage of calls that precede the candidates, such as that of a rewriter."""

    @property
    def answer(self) -> Completion:
        """Candidate that was selected."""
        return self.candidates[self.chosen]

    @property
    def usage(self) -> Usage:
        """Usage of all candidates together, and of what precedes them."""
        return sum((candidate.usage for candidate in self.candidates), self.other_usage)


class DecoderBase(Record):
    """Base class of decoders.

    A subclass declares ``kind``, its name in JSON, and ``sampling``, its sampling parameters. It
    implements :meth:`decode`, and :meth:`select` if it selects an answer among candidates.
    """

    kind: str

    @property
    def base_sampling(self) -> Sampling:
        """Sampling parameters of a single sample: the field ``sampling`` if there is one."""
        sampling = getattr(self, "sampling", None)
        return sampling if isinstance(sampling, Sampling) else Sampling()

    @property
    def rewards_needed(self) -> tuple[str, ...]:
        """Artifact ids of the rewards that the decoder uses; none by default."""
        return ()

    @property
    def sampling_recipe(self) -> dict[str, Any]:
        """Fields that determine what is sampled: all by default.

        Policies with equal ones choose among the same samples in an evaluation, so that their
        difference is that of their choices.
        """
        return self.to_dict()

    @property
    def is_single_sample(self) -> bool:
        """True if an answer is a single sample of the model with ``base_sampling``.

        The gateway forwards requests to such a policy's endpoint without decoding, and off-policy
        evaluation takes the model's log-probability for the policy's.
        """
        return False

    @property
    def can_select(self) -> bool:
        """True if the decoder implements :meth:`select`."""
        return type(self).select is not DecoderBase.select

    def prepare(
        self,
        model: Model,
        artifacts: Artifacts | None = None,  # noqa: ARG002 - for subclasses
    ) -> Model:
        """Return the model that :meth:`decode` gets: by default, the policy's own.

        Parameters
        ----------
        model : Model
            Model of the policy.
        artifacts : Artifacts, optional
            Artifacts with further models.
        """
        return model

    async def decode(
        self,
        model: Model,
        prompts: Sequence[Prompt],
        *,
        rewards: Mapping[str, Reward],
        seed: int = 0,
    ) -> list[DecoderOutput]:
        """Answer each prompt.

        Parameters
        ----------
        model : Model
            Model that generates the candidates.
        prompts : sequence of Prompt
            Chat messages, including the system prompt.
        rewards : Mapping[str, Reward]
            Rewards by artifact id, at least those in ``rewards_needed``.
        seed : int, default 0
            Random seed: equal seeds give equal answers, if the model supports it.

        Raises
        ------
        NotFound
            If a reward is missing.
        """
        raise NotImplementedError

    async def select(
        self,
        prompt: Prompt,  # noqa: ARG002 - for subclasses
        texts: Sequence[str],  # noqa: ARG002 - for subclasses
        *,
        rewards: Mapping[str, Reward],  # noqa: ARG002 - for subclasses
    ) -> int:
        """Return the index of the answer that the decoder selects among candidates.

        Off-policy evaluation uses it to select among logged candidates.

        Parameters
        ----------
        prompt : Prompt
            Chat messages, including the system prompt.
        texts : sequence of str
            Texts of the candidates.
        rewards : Mapping[str, Reward]
            Rewards by artifact id, at least those in ``rewards_needed``.

        Raises
        ------
        BacktalkError
            If the decoder does not select among candidates; see ``can_select``.
        """
        raise BacktalkError(f"The decoder {self.kind!r} does not select among candidates")


DecoderClass = TypeVar("DecoderClass", bound=type[DecoderBase])

DECODERS: Registry[type[DecoderBase]] = Registry(
    "decoder",
    entry_points="backtalk.decoders",
    modules=("backtalk.decode.sample", "backtalk.decode.best_of_n", "backtalk.decode.rewrite"),
    item_type=type,
)
"""Classes of decoders by ``kind``: built-in ones and those of installed packages."""


def register_decoder(kind: str) -> Callable[[DecoderClass], DecoderClass]:
    """Register a class of decoders under its ``kind``.

    An installed package declares an entry point instead, in its ``pyproject.toml``, so that it need
    not be imported first::

        [project.entry-points."backtalk.decoders"]
        shortest = "my_package.decoders:Shortest"

    Raises
    ------
    Conflict
        If another decoder has the name.
    """

    def register(cls: DecoderClass) -> DecoderClass:
        DECODERS.register(kind, cls)
        return cls

    return register


def get_decoder(kind: str) -> type[DecoderBase]:
    """Return the class of decoders of that kind.

    Raises
    ------
    UnknownName
        If there is none; the message lists the known ones.
    """
    return DECODERS.get(kind)


def parse_decoder(value: Any) -> Any:
    """Return the decoder that a mapping of fields describes, by its ``kind``.

    Raises
    ------
    ValueError
        If the kind is missing or unknown, or a field is not valid.
    """
    if not isinstance(value, Mapping):
        return value
    kind = value.get("kind")
    if not isinstance(kind, str):
        raise ValueError(f"kind: a decoder needs one of {', '.join(sorted(DECODERS))}")  # noqa: TRY004
    try:
        return get_decoder(kind).model_validate(dict(value))
    except ValidationError as error:
        raise ValueError(f"{kind}: {explain(error)}") from None
    except BacktalkError as error:
        raise ValueError(f"kind: {error}") from None


Decoder = Annotated[SerializeAsAny[DecoderBase], BeforeValidator(parse_decoder)]
"""Decoder of any registered kind, as a field of a policy."""
