"""Checks of judges in words, for the command line and reports."""

from __future__ import annotations

from typing import TYPE_CHECKING

from backtalk.evaluate.judges.check.result import JudgeBiases, JudgeCheck
from backtalk.stats.estimate import Estimate

if TYPE_CHECKING:
    from backtalk.evaluate.result import Evaluation

UNKNOWN = (
    "Its agreement with people is not known. `backtalk judge check` measures it on pairs that "
    "people compared; `backtalk task add` collects them."
)


def describe_check(check: JudgeCheck | None) -> list[str]:
    """Return a check as sentences; one that says what is missing for ``None``."""
    if check is None:
        return [UNKNOWN]
    who = "simulated annotators" if check.simulated else "people"
    pairs = f"{check.pairs} {_plural('pair', check.pairs)}"
    if check.held_out:
        pairs += f", {check.held_out} on held-out prompts"
    lines = []
    if check.agreement is None:
        lines.append(f"Its agreement with {who} is not known: all {pairs} are ties by {who}.")
    else:
        lines.append(f"Agrees with {who} in {_percent(check.agreement)} ({pairs}).")
    if check.people_agreement is not None:
        lines.append(
            f"{who.capitalize()} agree with one another in {_percent(check.people_agreement)} "
            f"({check.people_agreement.n} of these pairs)."
        )
    if check.kappa is not None:
        lines.append(f"Cohen's kappa {_number(check.kappa)}; 0 is agreement by chance.")
    if check.unreadable:
        lines.append(f"No readable verdict on {check.unreadable} more.")
    if not check.complete:
        lines.append("The budget ended before all pairs were judged.")
    if check.biases is not None:
        lines += describe_biases(check.biases, who)
    return lines


def describe_biases(biases: JudgeBiases, who: str = "people") -> list[str]:
    """Return the biases of a judge as sentences.

    Parameters
    ----------
    biases : JudgeBiases
        Biases to describe.
    who : str, default "people"
        Name of the annotators whose labels were used.
    """
    lines = []
    if biases.flips is not None and biases.prefers_first is not None:
        lines.append(
            f"Position: {_percent(biases.flips)} of its verdicts change with the order of the "
            f"answers; the first one gets {_percent(biases.prefers_first)}."
        )
    if biases.longer_wins is not None:
        text = f"Length: it prefers the longer answer in {_percent(biases.longer_wins)}"
        if biases.people_longer_wins is not None and biases.length_excess is not None:
            text += (
                f", {who} in {_percent(biases.people_longer_wins)} "
                f"(difference {_points(biases.length_excess)})"
            )
        lines.append(f"{text}.")
    if biases.length_coefficient is not None:
        lines.append(
            f"Effect of length on its log-odds, at equal quality: "
            f"{_number(biases.length_coefficient, signed=True)}; 0 is no bias."
        )
    return lines


def judge_lines(evaluation: Evaluation) -> list[str]:
    """Return the agreement of an evaluation's judge with people, and its biases, as sentences.

    The list is empty if the judge is no language model.
    """
    if evaluation.judge_info is None or evaluation.judge_info.kind != "llm":
        return []
    lines = describe_check(evaluation.judge_check)
    if evaluation.judges_itself in {"candidate", "baseline"}:
        lines.append(
            f"It is the model of the {evaluation.judges_itself}: models tend to prefer their own "
            "answers, so let another model judge too."
        )
    if evaluation.judge_biases is not None:
        lines += [f"Here: {line}" for line in describe_biases(evaluation.judge_biases)]
    return lines


def judge_phrase(evaluation: Evaluation) -> str:
    """Return the name of an evaluation's judge, and what kind of judge it is."""
    info = evaluation.judge_info
    if info is None:
        return evaluation.judge
    if info.kind == "reward":
        source = "unknown feedback" if info.fitted_on is None else info.fitted_on.label
        return f"{info.name}, a reward fitted on {source}"
    if info.kind == "people":
        people = "person" if info.people == 1 else "people"
        text = f"{info.people or 'no'} {people} in the inbox"
        if info.people_agreement is not None:
            text += f", who agree on {_percent(info.people_agreement)}"
        return text
    return f"{info.name}, {_KINDS[info.kind]}"


_KINDS = {
    "recorded": "the feedback in the store on these very answers",
    "llm": "a language model",
    "live": "people in live traffic",
    "oracle": "the truth of a sandbox or a test",
    "other": "a registered reward",
}


def _percent(estimate: Estimate) -> str:
    return f"{100 * estimate.value:.0f} % [{100 * estimate.low:.0f}, {100 * estimate.high:.0f}]"


def _points(estimate: Estimate) -> str:
    return f"{100 * estimate.value:+.0f} [{100 * estimate.low:+.0f}, {100 * estimate.high:+.0f}]"


def _number(estimate: Estimate, *, signed: bool = False) -> str:
    sign = "+" if signed else ""
    return f"{estimate.value:{sign}.2f} [{estimate.low:{sign}.2f}, {estimate.high:{sign}.2f}]"


def _plural(noun: str, count: int) -> str:
    return noun if count == 1 else f"{noun}s"
