"""``backtalk evaluate``: compare a policy with a baseline."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from backtalk.cli.options import (
    PROJECT,
    STORE,
    BaselineOption,
    CallsOption,
    GuardOption,
    JsonOption,
    JudgeOption,
    LimitOption,
    MoneyOption,
    PricesOption,
    ProjectOption,
    PromptsOption,
    SecondsOption,
    SeedOption,
    SplitOption,
    StoreOption,
    TokensOption,
)

if TYPE_CHECKING:
    from backtalk.evaluate.result import Evaluation
    from backtalk.policy import Policy
    from backtalk.store import Store


def add_to(app: typer.Typer, panel: str) -> None:
    """Add the command to a help panel."""
    app.command("evaluate", rich_help_panel=panel)(evaluate_command)


def evaluate_command(
    candidate: Annotated[str, typer.Argument(help="Candidate policy, by name or id.")],
    *,
    against: BaselineOption = None,
    judge: JudgeOption = "recorded",
    guard: GuardOption = None,
    split: SplitOption = "held-out",
    prompts: PromptsOption = None,
    limit: LimitOption = None,
    report: Annotated[
        Path | None, typer.Option(help="HTML file to write a report to.", metavar="FILE")
    ] = None,
    seed: SeedOption = 0,
    max_calls: CallsOption = None,
    max_tokens: TokensOption = None,
    max_money: MoneyOption = None,
    max_seconds: SecondsOption = None,
    prices: PricesOption = None,
    store: StoreOption = STORE,
    project: ProjectOption = PROJECT,
    json: JsonOption = False,
) -> None:
    """Compare a policy with a baseline: both answer held-out prompts, and a judge scores them.

    Examples
    --------
    - `backtalk evaluate chooser --against plain --judge true-utility`
    - `backtalk evaluate chooser --judge recorded --report report.html`
    """
    import asyncio

    from backtalk.api import aevaluate, find_policy
    from backtalk.cli.context import make_budget, opened, prompts_in
    from backtalk.cli.output import progress_bars, say_json
    from backtalk.models import load_prices
    from backtalk.reports import evaluation_report, read_examples, read_training

    budget = make_budget(
        calls=max_calls, tokens=max_tokens, money=max_money, seconds=max_seconds, prices=prices
    )
    with opened(store, project) as db, progress_bars() as progress:
        new, old = find_policy(candidate, db), find_policy(against, db)
        result = asyncio.run(
            aevaluate(
                new,
                old,
                db,
                judge=judge,
                guards=guard or (),
                split=split,
                prompts=None if prompts is None else prompts_in(prompts),
                limit=limit,
                seed=seed,
                budget=budget,
                prices=None if prices is None else load_prices(prices),
                progress=progress,
            )
        )
        if report is not None:
            document = evaluation_report(
                result,
                new,
                old,
                examples=read_examples(db, result),
                training=read_training(db, new),
            )
            document.write(report)
    if json:
        say_json(result.to_dict())
    else:
        show(result, new, old)


def show(result: Evaluation, candidate: Policy, baseline: Policy) -> None:
    """Print an evaluation.

    Parameters
    ----------
    result : Evaluation
        Evaluation to print.
    candidate, baseline : Policy
        Policies that it compares.
    """
    from backtalk.cli.output import note, number, percent, say, say_table
    from backtalk.evaluate.result import headline

    say(f"{candidate.label} against {baseline.label}. {headline(result)}.")
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
    if result.choices:
        say_table(
            ("choice among its samples", "value", "lead of its own choice"),
            [
                (choice.rule, number(choice.value), number(choice.difference, signed=True))
                for choice in result.choices
            ],
            numbers=(1, 2),
        )
    if not result.complete:
        note("The budget was exceeded before all prompts were answered; raise it to continue.")
    note(f"Evaluation {result.id[:8]}. Next: backtalk promote {candidate.label}")


def policies_of(store: Store, evaluation: Evaluation) -> tuple[Policy, Policy]:
    """Return the candidate and the baseline of an evaluation."""
    from backtalk.policy import read_policy

    return read_policy(store, evaluation.candidate), read_policy(store, evaluation.baseline)
