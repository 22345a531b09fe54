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
    CheckJudgeOption,
    FreshOption,
    GuardOption,
    JsonOption,
    JudgeOption,
    LimitOption,
    MaxLeftOutOption,
    MoneyOption,
    PricesOption,
    ProjectOption,
    PromptsOption,
    SecondsOption,
    SeedOption,
    SendToOption,
    SplitOption,
    StoreOption,
    TokensOption,
    WaitOption,
)

if TYPE_CHECKING:
    from backtalk.evaluate.result import Evaluation
    from backtalk.learn.training_set import Split
    from backtalk.policy import Policy
    from backtalk.store import Store


def add_to(app: typer.Typer, panel: str) -> None:
    """Add the command to a help panel."""
    app.command("evaluate", rich_help_panel=panel)(evaluate_command)


def evaluate_command(
    candidate: Annotated[str, typer.Argument(help="Candidate policy, by name or id.")],
    *,
    against: BaselineOption = None,
    judge: JudgeOption = None,
    guard: GuardOption = None,
    preferences: Annotated[
        bool,
        typer.Option(
            "--preferences",
            help="Without a judge: how often the policy's log-probabilities rank the preferred "
            "answer of a held-out pair higher. For local models.",
        ),
    ] = False,
    reference: Annotated[
        str | None,
        typer.Option(
            help="With --preferences: reference of the implicit reward. Default: that of the "
            "training."
        ),
    ] = None,
    beta: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="With --preferences: factor of the implicit reward. Default: that of the "
            "training, or 0.1.",
        ),
    ] = None,
    split: SplitOption = "held-out",
    prompts: PromptsOption = None,
    limit: LimitOption = None,
    report: Annotated[
        Path | None, typer.Option(help="HTML file to write a report to.", metavar="FILE")
    ] = None,
    fresh: FreshOption = False,
    check_judge: CheckJudgeOption = 50,
    max_left_out: MaxLeftOutOption = 0.05,
    wait: WaitOption = True,
    seed: SeedOption = 0,
    max_calls: CallsOption = None,
    max_tokens: TokensOption = None,
    max_money: MoneyOption = None,
    max_seconds: SecondsOption = None,
    prices: PricesOption = None,
    send_to: SendToOption = None,
    store: StoreOption = STORE,
    project: ProjectOption = PROJECT,
    json: JsonOption = False,
) -> None:
    """Compare a policy with a baseline: both answer held-out prompts, and a judge judges them.

    Before the first answer is generated, judge, models and budget are checked. Answers are stored:
    the same command with another judge, or after a stop, generates only those that are missing,
    and the budget counts these.

    Examples
    --------
    - `backtalk evaluate chooser`
    - `backtalk evaluate chooser --judge people --limit 40`
    - `backtalk evaluate chooser --judge llm:MODEL@http://localhost:8000/v1 --max-calls 500`
    - `backtalk evaluate chooser --against plain --judge true-utility`
    - `backtalk evaluate chooser --judge recorded --report report.html`
    - `backtalk evaluate tuned --preferences --against plain`
    """
    import asyncio

    from backtalk.api import aevaluate, find_policy
    from backtalk.cli.context import make_budget, opened, read_prompts, store_options
    from backtalk.cli.evaluations import (
        judge_name,
        read_judge,
        show,
        show_next,
        warn_if_circular,
    )
    from backtalk.cli.output import progress_bars, say_json
    from backtalk.cli.preferences import refuse_options
    from backtalk.cli.sending import sending
    from backtalk.models import load_prices
    from backtalk.reports import evaluation_report, read_examples, read_training

    if preferences:
        refuse_options(
            {
                "--judge": judge,
                "--guard": guard,
                "--prompts": prompts,
                "--report": report,
                "--fresh": fresh,
                "--no-wait": not wait,
                "--max-calls": max_calls is not None,
                "--max-tokens": max_tokens is not None,
                "--max-money": max_money is not None,
                "--max-seconds": max_seconds is not None,
                "--prices": prices,
                "--send-to": send_to,
            },
            "with --preferences nothing is generated and no judge judges",
        )
        with opened(store, project) as db:
            _evaluate_preferences(
                db,
                find_policy(candidate, db),
                against=None if against is None else find_policy(against, db),
                reference=None if reference is None else find_policy(reference, db),
                beta=beta,
                split=split,
                limit=limit,
                seed=seed,
                json=json,
            )
        return
    refuse_options({"--reference": reference, "--beta": beta is not None}, "it needs --preferences")
    budget = make_budget(
        calls=max_calls,
        tokens=max_tokens,
        money=max_money,
        seconds=max_seconds,
        prices=prices,
        prices_alone=True,
    )
    options = store_options(store, project)
    with opened(store, project) as db:
        new, old = find_policy(candidate, db), find_policy(against, db)
        questions = read_prompts(db, split=split, file=prompts, limit=limit, seed=seed)
        judge = judge_name(judge, new, old, db)
        judges = (judge, *(guard or ()))
        with (
            sending([new, old], send_to=send_to, prompts=len(questions), judges=judges),
            progress_bars() as progress,
        ):
            chosen = read_judge(judge, db, wait=wait)
            warn_if_circular(chosen, [new], db, options=options)
            result = asyncio.run(
                aevaluate(
                    new,
                    old,
                    db,
                    judge=chosen,
                    guards=guard or (),
                    split=split,
                    prompts=questions,
                    seed=seed,
                    budget=budget,
                    prices=None if prices is None else load_prices(prices),
                    progress=progress,
                    fresh=fresh,
                    check_judge=check_judge,
                    max_left_out=max_left_out,
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
            return
        show(result, new, old, priced=prices is not None)
        show_next(result, new, db, judge=judge, options=options)


def _evaluate_preferences(
    store: Store,
    policy: Policy,
    *,
    against: Policy | None,
    reference: Policy | None,
    beta: float | None,
    split: Split,
    limit: int | None,
    seed: int,
    json: bool,
) -> None:
    """Print the accuracy of a policy on preferences.

    Parameters
    ----------
    store : Store
        Store of the project.
    policy : Policy
        Policy.
    against, reference, beta, split, limit
        See :func:`~backtalk.learn.held_out_preferences.held_out_preferences`.
    seed : int
        Random seed.
    json : bool
        If true, print JSON.
    """
    import asyncio

    from backtalk.cli.output import progress_bars, say_json
    from backtalk.cli.preferences import show_preferences
    from backtalk.learn.held_out_preferences import held_out_preferences
    from backtalk.run import Run

    with progress_bars() as progress, Run(seed=seed, progress=progress) as run:
        result = asyncio.run(
            held_out_preferences(
                policy,
                store,
                run=run,
                against=against,
                reference=reference,
                beta=beta,
                split=split,
                limit=limit,
            )
        )
    if json:
        say_json(result.to_dict())
    else:
        show_preferences(result, policy, against)


def policies_of(store: Store, evaluation: Evaluation) -> tuple[Policy, Policy]:
    """Return the candidate and the baseline of an evaluation."""
    from backtalk.policy import read_policy

    return read_policy(store, evaluation.candidate), read_policy(store, evaluation.baseline)
