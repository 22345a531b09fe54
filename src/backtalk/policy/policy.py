"""A policy: an immutable recipe for answering, which knows where it came from."""

from __future__ import annotations

import json
from functools import cached_property
from typing import Annotated, Any, Self

import yaml
from pydantic import Field, JsonValue, ValidationError

from backtalk.decode import Decoder, Sample
from backtalk.errors import RecordError
from backtalk.feedback import Message, as_prompt, content_id
from backtalk.feedback.record import OMIT_EMPTY, Name, OptionalField, Record, Time, record_error
from backtalk.models.spec import ModelSpec


class Snapshot(Record):
    """Which feedback a policy was learned from."""

    project: Name
    split: Name
    """Which prompts: ``"train"``, or ``"all"``."""
    counts: dict[str, int]
    """How many interactions there were, and how much feedback of each kind."""
    digest: Name
    """Determined by the ids of all of it, in order."""
    last: int
    """The highest sequence number of the feedback in the store then."""


class Lineage(Record):
    """How a policy came about."""

    method: Name
    """The method that made it, as ``backtalk methods`` lists them; ``"written"`` by hand."""
    parent: OptionalField[Name] = None
    """The id of the policy that it was made from."""
    options: dict[str, JsonValue] = Field(default_factory=dict, exclude_if=OMIT_EMPTY)
    seed: OptionalField[int] = None
    snapshot: OptionalField[Snapshot] = None
    time: OptionalField[Time] = None
    notes: dict[str, JsonValue] = Field(default_factory=dict, exclude_if=OMIT_EMPTY)
    """What the method found on the way."""


class Policy(Record):
    """A recipe for answering: a model, what it is told, and how answers are drawn from it.

    Two policies with the same recipe are the same policy, whatever their names and histories: the
    id is the hash of the recipe alone.

    Examples
    --------
    >>> from backtalk.models.spec import EndpointSpec
    >>> policy = Policy(model=EndpointSpec(model="small"), system="Be brief.")
    >>> policy == Policy.from_yaml(policy.to_yaml())
    True
    """

    model: ModelSpec
    system: OptionalField[Name] = None
    """The system prompt."""
    decoder: Decoder = Sample()
    name: OptionalField[Annotated[str, Field(pattern=r"^[\w.-]+$")]] = None
    """What people call it; not part of its identity."""
    lineage: Lineage = Lineage(method="written")

    @cached_property
    def id(self) -> str:
        """The hash of the recipe, 32 hexadecimal digits."""
        recipe = self.model_dump(mode="json", exclude={"name", "lineage"})
        return content_id("policy", json.dumps(recipe, sort_keys=True, separators=(",", ":")))

    @property
    def label(self) -> str:
        """What to call it in reports: its name, or else the beginning of its id."""
        return self.name or self.id[:8]

    def messages(self, prompt: str | tuple[Message, ...]) -> tuple[Message, ...]:
        """Return what the model is given for a prompt: the system prompt goes first."""
        asked = as_prompt(prompt)
        return asked if self.system is None else (Message.system(self.system), *asked)

    def derive(self, *, lineage: Lineage, **changes: Any) -> Self:
        """Return a policy with some of the recipe changed and a lineage of its own."""
        return type(self).model_validate(
            {**self._fields(), "name": None, **changes, "lineage": lineage}
        )

    def named(self, name: str) -> Self:
        """Return the same policy under another name.

        Raises
        ------
        RecordError
            If the name is not one word of letters, digits, ``.``, ``-`` and ``_``.
        """
        try:
            return type(self).model_validate({**self._fields(), "name": name})
        except ValidationError as error:
            raise record_error("the policy", error) from None

    def _fields(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in type(self).model_fields}

    def to_yaml(self) -> str:
        """Return the policy as YAML, its id first."""
        return yaml.safe_dump(
            {"id": self.id, **self.to_dict()}, sort_keys=False, allow_unicode=True
        )

    @classmethod
    def from_yaml(cls, text: str) -> Self:
        """Read a policy from YAML or JSON.

        Raises
        ------
        RecordError
            If it is not valid, or if it has an id that is not the one of its recipe.
        """
        try:
            data = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise RecordError(f"the policy is not YAML: {error}") from None
        if not isinstance(data, dict):
            raise RecordError("the policy is not a mapping of fields", "It needs at least a model")
        claimed = data.pop("id", None)
        try:
            policy = cls.model_validate(data)
        except ValidationError as error:
            raise record_error("the policy", error) from None
        if claimed not in {None, policy.id}:
            raise RecordError(
                f"id: the recipe was changed, its id is {policy.id!r} and not {claimed!r}",
                "Take the line with the id out to make it a policy of its own",
            )
        return policy
