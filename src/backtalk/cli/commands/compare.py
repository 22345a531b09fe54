"""``backtalk compare``: the best of several policies, without fooling oneself."""

from __future__ import annotations

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
    from backtalk.policy import Policy
    from backtalk.stats import Selection


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("compare")(compare)


def compare(
    candidates: Annotated[
        list[str], typer.Argument(help="Policies, by name or id.", metavar="CANDIDATE...")
    ],
    *,
    against: Annotated[
        str | None, typer.Option(help="The baseline; what is served, if left out.")
    ] = None,
    judge: JudgeOption = "recorded",
    guard: GuardOption = None,
    split: SplitOption = "held-out",
    prompts: PromptsOption = None,
    limit: LimitOption = None,
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
    """Choose the best of several policies on half of the prompts, evaluate it on the other half.

    The best of many looks better than it is where it was chosen. How much, is printed; what
    counts is the evaluation on prompts that the choice never saw.

    Examples
    --------
    - `backtalk compare n4 n16 n64 --against plain --judge true-utility`
    """
    import asyncio

    from backtalk.cli.commands.evaluate import show
    from backtalk.cli.context import budget_of, loaded, opened, prompts_of, run_of, served_or_error
    from backtalk.cli.output import say_json
    from backtalk.evaluate.evaluate import choose_best
    from backtalk.evaluate.examples import examples
    from backtalk.evaluate.judges import get_judge
    from backtalk.evaluate.storage import save_evaluation
    from backtalk.policy import read_policy
    from backtalk.reports import save_exhibits

    budget = budget_of(calls=max_calls, tokens=max_tokens, money=max_money, seconds=max_seconds)
    with opened(store, project) as db:
        policies = [read_policy(db, name) for name in candidates]
        old = served_or_error(db) if against is None else read_policy(db, against)
        asked = prompts_of(db, split=split, file=prompts, limit=limit, seed=seed)
        about = (*(policy.id for policy in policies), old.id, judge)
        with run_of(db, *about, seed=seed, budget=budget, prices=prices) as run:
            result, selection, trial = asyncio.run(
                choose_best(
                    [loaded(db, policy, run) for policy in policies],
                    loaded(db, old, run),
                    asked,
                    get_judge(judge, db),
                    run=run,
                    split=split,
                    guards=[get_judge(name, db) for name in guard or []],
                )
            )
        save_evaluation(db, result)
        save_exhibits(db, result, examples(trial, place=1 + selection.winner))
    if json:
        say_json({"evaluation": result.to_dict(), "selection": selection.to_dict()})
        return
    _show_choice(policies, selection)
    show(result, policies[selection.winner], old)


def _show_choice(policies: list[Policy], selection: Selection) -> None:
    from backtalk.cli.output import number, say, say_table

    say_table(
        ("candidate", "mean value where the choice was made", ""),
        [
            (policy.label, f"{mean:.3f}", "chosen" if index == selection.winner else "")
            for index, (policy, mean) in enumerate(zip(policies, selection.means, strict=True))
        ],
        numbers=(1,),
    )
    say(
        f"The choice flatters the winner by about {selection.optimism:.3f}: it looks like "
        f"{number(selection.apparent)} there, and on unseen prompts it is "
        f"{number(selection.unseen)}."
    )
    say()
