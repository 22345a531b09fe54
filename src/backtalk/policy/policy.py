"""Policy: an immutable recipe for answering, with its lineage."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Annotated, Any, Self

from pydantic import Field, JsonValue, ValidationError

from backtalk.decode import Decoder, Sample
from backtalk.errors import BacktalkError
from backtalk.feedback import Message, as_prompt, content_id
from backtalk.feedback.record import OMIT_EMPTY, Name, OptionalField, Record, Time, record_error
from backtalk.feedback.requests import request_of, with_request
from backtalk.feedback.snapshot import Snapshot
from backtalk.memory.spec import MemorySpec
from backtalk.models.spec import ModelSpec
from backtalk.policy.compositions import PromptCompositions
from backtalk.policy.prompt_template import PromptTemplate
from backtalk.policy.system_messages import merge_system_messages
from backtalk.rewards.judge_info import JudgeInfo


class Lineage(Record):
    """Origin of a policy: method, parent, options and data."""

    method: Name
    """Name of the method that made it, as in ``backtalk methods``; ``"written"`` if by hand."""
    parent: OptionalField[Name] = None
    """Id of the policy that it was made from."""
    options: dict[str, JsonValue] = Field(default_factory=dict, exclude_if=OMIT_EMPTY)
    seed: OptionalField[int] = None
    snapshot: OptionalField[Snapshot] = None
    rewards: OptionalField[tuple[JudgeInfo, ...]] = None
    """Rewards and judges that the method optimised; ``None`` if it did not record them, as methods
    of earlier versions. The rewards of the decoder are part of the recipe."""
    time: OptionalField[Time] = None
    notes: dict[str, JsonValue] = Field(default_factory=dict, exclude_if=OMIT_EMPTY)
    """Results that the method recorded, by name."""


class Policy(Record):
    """Recipe for answering prompts: a model, a system prompt and a decoder.

    The id is the hash of the recipe alone. Two policies with the same recipe are the same policy,
    whatever their names and lineages.

    Examples
    --------
    >>> from backtalk.models.spec import EndpointSpec
    >>> policy = Policy(model=EndpointSpec(model="small"), system="Be brief.")
    >>> policy == Policy.from_yaml(policy.to_yaml())
    True
    """

    model: ModelSpec
    """Model that answers; its ``kind`` decides on the other fields."""
    system: OptionalField[Name] = None
    """System prompt: the instruction of the prompt."""
    prompt: OptionalField[PromptTemplate] = None
    """Other slots of the prompt: rules, demonstrations, descriptions of tools."""
    memory: OptionalField[MemorySpec] = None
    """Memory that answers recall entries from."""
    compositions: OptionalField[PromptCompositions] = None
    """Compositions of the prompt, of which a model selects one for each request."""
    decoder: Decoder = Sample()
    """Way in which an answer is drawn or selected. Default: one sample."""
    name: OptionalField[Annotated[str, Field(pattern=r"^[\w.:%-]+$")]] = None
    """Name for people: letters, digits, ``.``, ``-``, ``_``, ``:`` and ``%``. It is not part of the
    recipe."""
    lineage: Lineage = Lineage(method="written")
    """Origin: method, parent, options and data. It is not part of the recipe."""

    @cached_property
    def id(self) -> str:
        """Hash of the recipe, 32 hexadecimal digits."""
        return content_id(
            "policy", json.dumps(self.recipe(), sort_keys=True, separators=(",", ":"))
        )

    @cached_property
    def sampling_id(self) -> str:
        """Hash of what determines the policy's samples, 32 hexadecimal digits.

        It is the same for policies that choose among the same samples, such as best-of-n policies
        with different rewards; see
        :attr:`~backtalk.decode.base.DecoderBase.sampling_recipe`.
        """
        recipe = {**self.recipe(), "decoder": self.decoder.sampling_recipe}
        return content_id("samples", json.dumps(recipe, sort_keys=True, separators=(",", ":")))

    def recipe(self) -> dict[str, Any]:
        """Return the recipe as JSON: everything but the name and the lineage."""
        return self.model_dump(mode="json", exclude={"name", "lineage"})

    @property
    def label(self) -> str:
        """Label for reports: the name, or the first digits of the id."""
        return self.name or self.id[:8]

    @cached_property
    def prompt_version(self) -> str | None:
        """Hash of the system prompt and the template, 32 hexadecimal digits; ``None`` for none."""
        if self.system is None and self.prompt is None:
            return None
        template = "" if self.prompt is None else self.prompt.version
        return content_id("prompt", self.system or "", template)

    @cached_property
    def composed(self) -> tuple[Self, ...]:
        """Policies with each composition as the prompt; this policy alone if it has none."""
        if self.compositions is None:
            return (self,)
        return tuple(
            type(self).model_validate(
                {
                    **self._fields(),
                    "system": choice.system,
                    "prompt": choice.prompt,
                    "compositions": None,
                }
            )
            for choice in self.compositions.choices
        )

    def messages(
        self, prompt: str | tuple[Message, ...], *, remembered: Sequence[str] | None = None
    ) -> tuple[Message, ...]:
        """Return the messages for the model: those of the policy, then the prompt.

        The system messages at the beginning of the prompt become part of that of the policy.

        Parameters
        ----------
        prompt : str or tuple of Message
            Messages of the user.
        remembered : sequence of str, optional
            Texts of the memory entries that apply to the prompt. A policy with a memory needs them.

        Raises
        ------
        BacktalkError
            If the policy has a memory, and no texts are passed.
        """
        if remembered is None and self.memory is not None:
            raise BacktalkError(
                f"The policy {self.label} answers with entries of the memory {self.memory.name!r}, "
                "which are not known here",
                "Start from the same policy without `memory`, and add the memory to the policy "
                "that is learned; in Python, LoadedPolicy.messages recalls the entries",
            )
        template = self.prompt or PromptTemplate()
        own = template.render(self.system, remembered or ())
        messages = merge_system_messages(own, as_prompt(prompt))
        request = request_of(messages)
        tools = request.get("tools")
        if template.tools and isinstance(tools, list):
            described = template.with_tools([tool for tool in tools if isinstance(tool, dict)])
            messages = with_request(messages, {**request, "tools": described})
        return messages

    def derive(self, *, lineage: Lineage, **changes: Any) -> Self:
        """Return an unnamed policy with changes to the recipe and a new lineage."""
        return type(self).model_validate(
            {**self._fields(), "name": None, **changes, "lineage": lineage}
        )

    def with_rewards(self, rewards: Iterable[JudgeInfo]) -> Self:
        """Return the same policy, with rewards added to those that its method optimised."""
        lineage = self.lineage
        every = [*(lineage.rewards or ()), *rewards]
        distinct = tuple(one for index, one in enumerate(every) if one not in every[:index])
        return self.model_copy(update={"lineage": lineage.model_copy(update={"rewards": distinct})})

    def named(self, name: str) -> Self:
        """Return the same policy with another name.

        Raises
        ------
        RecordError
            If the name has characters other than letters, digits, ``.``, ``-``, ``_``, ``:`` and
            ``%``.
        """
        try:
            return type(self).model_validate({**self._fields(), "name": name})
        except ValidationError as error:
            raise record_error("the policy", error) from None

    def _fields(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in type(self).model_fields}

    def to_yaml(self) -> str:
        """Return the policy as YAML, with its id first."""
        import yaml  # noqa: PLC0415 - only needed for files

        return yaml.safe_dump(
            {"id": self.id, **self.to_dict()}, sort_keys=False, allow_unicode=True
        )

    @classmethod
    def from_yaml(cls, text: str) -> Self:
        """Read a policy from YAML or JSON.

        Raises
        ------
        RecordError
            If it is not valid, or its id is not that of its recipe. The message lists all wrong
            fields with their lines.
        """
        from backtalk.policy.field_errors import read_policy_yaml  # noqa: PLC0415 - imports this

        return cls.model_validate(read_policy_yaml(text))
