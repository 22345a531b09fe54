"""``backtalk evaluate``: is a policy better than another."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from backtalk.cli.options import (
    PROJECT,
    STORE,
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


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("evaluate")(evaluate_command)


def evaluate_command(
    candidate: Annotated[str, typer.Argument(help="A policy, by name or id.")],
    *,
    against: Annotated[
        str | None, typer.Option(help="The baseline; what is served, if left out.")
    ] = None,
    judge: JudgeOption = "recorded",
    guard: GuardOption = None,
    split: SplitOption = "held-out",
    prompts: PromptsOption = None,
    limit: LimitOption = None,
    report: Annotated[
        Path | None, typer.Option(help="Write a report to this HTML file.", metavar="FILE")
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
    """Let a policy and a baseline answer held-out prompts, and have a judge compare the answers.

    Examples
    --------
    - `backtalk evaluate chooser --against plain --judge true-utility`
    - `backtalk evaluate chooser --judge recorded --report report.html`
    """
    import asyncio

    from backtalk.cli.context import budget_of, loaded, opened, prompts_of, run_of, served_or_error
    from backtalk.cli.output import say_json
    from backtalk.evaluate.evaluate import evaluate
    from backtalk.evaluate.examples import examples
    from backtalk.evaluate.judges import get_judge
    from backtalk.evaluate.storage import save_evaluation
    from backtalk.policy import read_policy
    from backtalk.reports import evaluation_report, read_training, save_exhibits

    budget = budget_of(calls=max_calls, tokens=max_tokens, money=max_money, seconds=max_seconds)
    with opened(store, project) as db:
        new = read_policy(db, candidate)
        old = served_or_error(db) if against is None else read_policy(db, against)
        asked = prompts_of(db, split=split, file=prompts, limit=limit, seed=seed)
        with run_of(db, new.id, old.id, judge, seed=seed, budget=budget, prices=prices) as run:
            result, trial = asyncio.run(
                evaluate(
                    loaded(db, new, run),
                    loaded(db, old, run),
                    asked,
                    get_judge(judge, db),
                    run=run,
                    split=split,
                    guards=[get_judge(name, db) for name in guard or []],
                )
            )
        save_evaluation(db, result)
        shown = examples(trial)
        save_exhibits(db, result, shown)
        training = read_training(db, new)
    if report is not None:
        page = evaluation_report(result, new, old, examples=shown, training=training)
        page.write(report)
    if json:
        say_json(result.to_dict())
    else:
        show(result, new, old)


def show(found: Evaluation, candidate: Policy, baseline: Policy) -> None:
    """Print an evaluation."""
    from backtalk.cli.output import note, number, percent, say, say_table
    from backtalk.evaluate.result import headline

    say(f"{candidate.label} against {baseline.label}. {headline(found)}.")
    say_table(
        ("", "candidate", "baseline", "difference"),
        [
            (
                measure.name,
                number(measure.candidate),
                number(measure.baseline),
                number(measure.difference, signed=True),
            )
            for measure in (found.value, *found.guards)
        ],
        numbers=(1, 2, 3),
    )
    say(
        f"If the longer answer won, it would win {percent(found.longer_wins)}; "
        f"its answers are {found.length_ratio:.2f} times as long."
    )
    if found.choices:
        say_table(
            ("choosing among its samples", "value", "its own choice's lead"),
            [
                (choice.rule, number(choice.value), number(choice.difference, signed=True))
                for choice in found.choices
            ],
            numbers=(1, 2),
        )
    if not found.complete:
        note("The budget ended before all prompts were answered; with more, this goes on.")
    note(f"Evaluation {found.id[:8]}. Next: backtalk promote {candidate.label}")


def policies_of(store: Store, evaluation: Evaluation) -> tuple[Policy, Policy]:
    """Return the candidate and the baseline of an evaluation."""
    from backtalk.policy import read_policy

    return read_policy(store, evaluation.candidate), read_policy(store, evaluation.baseline)
