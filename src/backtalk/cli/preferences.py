"""Accuracy on preferences on the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from backtalk.cli.output import note, number, percent, say, say_table
from backtalk.errors import BacktalkError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from backtalk.evaluate.preference_accuracy import PreferenceAccuracy
    from backtalk.policy import Policy


def refuse_options(values: Mapping[str, object], reason: str) -> None:
    """Raise an error if options are given that have no effect.

    Parameters
    ----------
    values : Mapping[str, object]
        Value of each option by its name; a value that is false or ``None`` was not given.
    reason : str
        Reason why they have none.
    """
    names = [name for name, value in values.items() if value]
    if names:
        raise BacktalkError(
            f"{', '.join(names)} {'has' if len(names) == 1 else 'have'} no effect: {reason}",
            "Leave it out" if len(names) == 1 else "Leave them out",
        )


def show_preferences(result: PreferenceAccuracy, policy: Policy, against: Policy | None) -> None:
    """Print the accuracy of a policy on preferences.

    Parameters
    ----------
    result : PreferenceAccuracy
        Result to print.
    policy : Policy
        Policy.
    against : Policy or None
        Policy that it is compared with.
    """
    which = "all" if result.split == "all" else result.split
    say(
        f"{policy.label} on {result.pairs:,} {which} pairs of {result.prompts:,} "
        f"{'prompt' if result.prompts == 1 else 'prompts'}: how often the preferred answer has the "
        "higher score."
    )
    header = ["score", "accuracy", "margin", "ties"]
    if against is not None:
        header.append(f"accuracy less that of {against.label}")
    say_table(
        header,
        [
            [
                name,
                percent(score.accuracy),
                number(score.margin, signed=True),
                f"{score.ties:,}",
                *([] if against is None else [number(score.difference, signed=True)]),
            ]
            for name, score in result.scores.items()
        ]
        + [["longer answer", percent(result.longer_wins)] + [""] * (len(header) - 2)],
        numbers=range(1, len(header)),
    )
    groups = list(next(iter(result.scores.values())).groups)
    say_table(
        ("accuracy", *(f"{name} ({_count(result, name):,})" for name in groups)),
        [
            (name, *(percent(score.groups[group]) for group in groups))
            for name, score in result.scores.items()
        ],
        numbers=range(1, len(groups) + 1),
    )
    if result.reference is not None:
        note(
            f"Implicit reward: {result.beta:g} * (log pi - log ref), reference "
            f"{result.reference[:8]}."
        )
    for reason, count in result.left_out.items():
        note(f"Left out: {count:,} {reason}.")
    if result.learned_from:
        note(
            f"{result.learned_from:,} of these pairs are on prompts that a policy learned from: "
            "they are not held out."
        )
    for sentence in result.unknown:
        note(f"{sentence}.")


def _count(result: PreferenceAccuracy, group: str) -> int:
    return next(iter(result.scores.values())).groups[group].n
