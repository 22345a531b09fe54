"""Names of policies whose recipe a project has already."""

from __future__ import annotations

from typing import TYPE_CHECKING

from backtalk.cli.output import note

if TYPE_CHECKING:
    from backtalk.policy import Policy


def note_other_name(policy: Policy, saved: Policy) -> None:
    """Say that a recipe has another name in the project than a command gave it.

    Parameters
    ----------
    policy : Policy
        Policy with the name of the command.
    saved : Policy
        Policy with the same recipe in the project.
    """
    if policy.name is not None and saved.name != policy.name:
        note(
            f"The project has this recipe already, as {saved.label}: the name {policy.name} is "
            "not used."
        )
