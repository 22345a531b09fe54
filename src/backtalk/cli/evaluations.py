"""Evaluations on the command line: the result, its judge, the cost of an answer, the next step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from backtalk.cli.output import note, number, percent, say, say_table
from backtalk.errors import BacktalkError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backtalk.evaluate.cost import AnswerCost
    from backtalk.evaluate.judges import Judge
    from backtalk.evaluate.result import Evaluation
    from backtalk.policy import Policy
    from backtalk.store import Store


_SHOWN = 5
"""Number of prompts that models refused which are listed."""


def read_judge(name: str, store: Store, *, wait: bool) -> Judge:
    """Return a judge by its name.

    Parameters
    ----------
    name : str
        Name of the judge.
    store : Store
        Store of the project.
    wait : bool
        If false, people do not judge while the command runs.
    """
    from backtalk.evaluate.judges import get_judge

    judge = get_judge(name, store)
    if not wait:
        if not hasattr(judge, "wait"):
            raise BacktalkError(
                f"--no-wait has no effect: the judge {name} does not wait",
                "Leave it out, or use --judge people",
            )
        judge.wait = False
    return judge


def judge_name(name: str | None, candidate: Policy, baseline: Policy, store: Store) -> str:
    """Return the name of the judge that a command names, or else that of a fitting one.

    Parameters
    ----------
    name : str or None
        Name on the command line.
    candidate, baseline : Policy
        Policies that it is to compare.
    store : Store
        Store of the project.
    """
    from backtalk.learn.next_steps import default_judge

    if name is not None:
        return name
    default = default_judge(candidate, baseline, store)
    if default != "recorded":
        note(f"No judge is named: --judge {default}.")
    return default


def warn_if_circular(
    judge: object, candidates: Sequence[Policy], store: Store, *, options: str
) -> None:
    """Say before anything is spent that the gate will refuse the evidence of a judge.

    Parameters
    ----------
    judge : object
        Judge.
    candidates : sequence of Policy
        Candidates.
    store : Store
        Store of the project.
    options : str
        Options that name the store and the project in commands.
    """
    from backtalk.cli.context import with_options
    from backtalk.promotion import circular_judge

    for candidate in candidates:
        warning = circular_judge(judge, candidate, store)
        if warning is not None:
            note(with_options(f"{warning}.", options))


def show(result: Evaluation, candidate: Policy, baseline: Policy, *, priced: bool = False) -> None:
    """Print an evaluation.

    Parameters
    ----------
    result : Evaluation
        Evaluation to print.
    candidate, baseline : Policy
        Policies that it compares.
    priced : bool, default False
        If true, prices were given for the cost of an answer.
    """
    from backtalk.evaluate.judges.check import judge_lines, judge_phrase
    from backtalk.evaluate.result import headline

    say(f"{candidate.label} against {baseline.label}. {headline(result)}.")
    say(f"Judge: {judge_phrase(result)}.")
    for line in judge_lines(result):
        say(f"  {line}")
    say_table(
        ("", "candidate", "baseline", "difference"),
        [
            (
                measure.name,
                number(measure.candidate),
                number(measure.baseline),
                number(measure.difference, signed=True),
            )
            for measure in (result.value, *result.guards)
        ],
        numbers=(1, 2, 3),
    )
    say(
        f"Win rate if the longer answer always won: {percent(result.longer_wins)}; "
        f"length ratio of the answers: {result.length_ratio:.2f}."
    )
    if result.candidate_cost is not None and result.baseline_cost is not None:
        _show_cost(result.candidate_cost, result.baseline_cost)
        if priced and None in {result.candidate_cost.money, result.baseline_cost.money}:
            note("--prices has no price of one of the models, so that no money is shown.")
    if result.choices:
        say_table(
            ("choice among its samples", "value", "lead of its own choice"),
            [
                (choice.rule, number(choice.value), number(choice.difference, signed=True))
                for choice in result.choices
            ],
            numbers=(1, 2),
        )
    if result.refused:
        note(f"{len(result.refused)} more prompts are left out, as a model refuses them:")
        for line in result.refused[:_SHOWN]:
            note(f"  {line}")
    if result.unjudged:
        note(f"{result.unjudged} more prompts have no verdict of the judge and are left out.")
    if result.reused:
        note(
            f"Reused {result.reused:,} answers of earlier evaluations; --fresh generates them anew."
        )


def show_next(
    result: Evaluation, candidate: Policy, store: Store, *, judge: str, options: str
) -> None:
    """Print the id of an evaluation and what to do next.

    Parameters
    ----------
    result : Evaluation
        Evaluation.
    candidate : Policy
        Candidate.
    store : Store
        Store of the project.
    judge : str
        Name of the judge, as on the command line.
    options : str
        Options that name the store and the project; see :func:`~.context.store_options`.
    """
    from backtalk.cli.context import with_options
    from backtalk.promotion import after_evaluation

    sentences = after_evaluation(result, candidate, store, judge=judge)
    note(f"Evaluation {result.id[:8]}.")
    for sentence in sentences:
        note(with_options(sentence, options) + ".")


def _show_cost(candidate: AnswerCost, baseline: AnswerCost) -> None:
    rows = [
        ("calls", candidate.calls, baseline.calls),
        ("tokens", _tokens(candidate), _tokens(baseline)),
        ("seconds", candidate.seconds, baseline.seconds),
    ]
    if candidate.calls > 1 or baseline.calls > 1:
        rows.append(("seconds, samples at once", candidate.latency, baseline.latency))
    if candidate.money is not None and baseline.money is not None:
        rows.append(("money", candidate.money, baseline.money))
    say_table(
        ("mean per answer", "candidate", "baseline", "ratio"),
        [
            (name, _short(new), _short(old), f"{new / old:.1f}" if old else "")
            for name, new, old in rows
            if new or old
        ],
        numbers=(1, 2, 3),
    )


def _tokens(cost: AnswerCost) -> float:
    return cost.prompt_tokens + cost.completion_tokens


def _short(amount: float) -> str:
    """Return a number with three digits, and all digits before the point."""
    return f"{amount:,.0f}" if amount >= 100 else f"{amount:.3g}"
