"""Draft of a policy: the fields of the editor, and the policy and experiment that they describe."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from backtalk.errors import BacktalkError, Conflict, NotFound, RecordError
from backtalk.experiments import Experiment
from backtalk.feedback.record import explain, now
from backtalk.models.protocol import Sampling
from backtalk.policy import Lineage, Policy, list_policies
from backtalk.serve.pages.page_request import Form
from backtalk.store import Store

SAMPLING = ("temperature", "top_p", "max_tokens")
"""Sampling parameters of the editor that are numbers."""


@dataclass
class PolicyDraft:
    """Fields of the editor as text, and the errors in them."""

    parent: Policy
    fields: dict[str, str]
    errors: list[str] = field(default_factory=list)
    policy: Policy | None = None
    """Policy that the fields describe; ``None`` if they are not valid."""

    @classmethod
    def of_parent(cls, parent: Policy) -> PolicyDraft:
        """Return the draft with the fields of the parent and without a name."""
        sampling = parent.decoder.base_sampling
        numbers = {name: getattr(sampling, name) for name in SAMPLING}
        fields = {name: "" if value is None else f"{value:g}" for name, value in numbers.items()}
        fields |= {"system": parent.system or "", "stop": "\n".join(sampling.stop), "name": ""}
        return cls(parent, fields, policy=parent)

    @classmethod
    def of_form(cls, parent: Policy, form: Form) -> PolicyDraft:
        """Return the draft that a form describes."""
        empty = cls.of_parent(parent).fields
        draft = cls(parent, {name: form.text(name) for name in empty})
        draft.policy = draft._read()
        return draft

    @property
    def has_sampling(self) -> bool:
        """True if the decoder of the parent has sampling parameters."""
        return isinstance(getattr(self.parent.decoder, "sampling", None), Sampling)

    def _read(self) -> Policy | None:
        changes: dict[str, Any] = {"system": self.fields["system"].strip("\n") or None}
        if changes["system"] != self.parent.system:
            changes["compositions"] = None
        if self.has_sampling:
            sampling = self._read_sampling()
            if sampling is None:
                return None
            changes["decoder"] = self.parent.decoder.model_copy(update={"sampling": sampling})
        lineage = Lineage(method="written", parent=self.parent.id, time=now())
        return self.parent.derive(lineage=lineage, **changes)

    def _read_sampling(self) -> Sampling | None:
        values: dict[str, Any] = {
            name: text for name in SAMPLING if (text := self.fields[name].strip())
        }
        values["stop"] = tuple(line for line in self.fields["stop"].split("\n") if line)
        try:
            return Sampling.model_validate(values)
        except ValidationError as error:
            self.errors += explain(error).split("; ")
            return None

    def check(self, store: Store) -> Policy:
        """Return the named policy, which can be saved.

        Raises
        ------
        RecordError
            If a field is not valid.
        Conflict
            If the policy, or another one of that name, exists.
        """
        if self.policy is None:
            raise RecordError("; ".join(self.errors))
        name = self.fields["name"].strip()
        if not name:
            raise RecordError("The policy needs a name", "Write one, such as brief-2")
        policy = self.policy.named(name)
        for other in list_policies(store):
            if other.id == policy.id:
                raise Conflict(f"The policy {other.label} has the same recipe", "Change a field")
            if other.name == name:
                raise Conflict(f"There is a policy {name}", "Choose another name")
        return policy


def make_experiment(policy: Policy, served: Policy | None, form: Form) -> Experiment:
    """Return the experiment of a new policy against the active one.

    Parameters
    ----------
    policy : Policy
        Candidate.
    served : Policy or None
        Active policy, the control.
    form : Form
        Fields ``share``, in percent of the traffic, and ``outcome``.

    Raises
    ------
    BacktalkError
        If there is no active policy, or a field is not valid.
    """
    if served is None:
        raise NotFound("There is no active policy", "Promote a first policy, which is the control")
    try:
        share = float(form.text("share")) / 100
    except ValueError:
        share = 0.0
    if not 0 < share < 1:
        raise BacktalkError("The share is no percentage above 0 and below 100", "Write one")
    try:
        return Experiment.model_validate(
            {
                "name": str(policy.name),
                "control": served.id,
                "candidates": [policy.id],
                "shares": [1 - share, share],
                "outcome": form.text("outcome", "thumb"),
            }
        )
    except ValidationError as error:
        raise RecordError(f"The experiment is not valid: {explain(error)}") from None
