"""``backtalk compare``: choose the best of several policies, without selection bias."""

from __future__ import annotations

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
    from backtalk.policy import Policy
    from backtalk.stats import Selection


def add_to(app: typer.Typer, panel: str) -> None:
    """Add the command to a help panel."""
    app.command("compare", rich_help_panel=panel)(compare)


def compare(
    candidates: Annotated[
        list[str], typer.Argument(help="Candidate policies, by name or id.", metavar="CANDIDATE...")
    ],
    *,
    against: BaselineOption = None,
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

    On the prompts it was chosen on, the winner looks better than it is. The command prints this
    selection bias; the evaluation is on the prompts that were not used for the choice.

    Examples
    --------
    - `backtalk compare n4 n16 n64 --against plain --judge true-utility`
    """
    import asyncio

    from backtalk.api import find_policy
    from backtalk.cli.commands.evaluate import show
    from backtalk.cli.context import (
        load,
        make_budget,
        open_run,
        opened,
        read_prompts,
    )
    from backtalk.cli.output import say_json
    from backtalk.evaluate.evaluate import choose_best
    from backtalk.evaluate.examples import select_examples
    from backtalk.evaluate.judges import get_judge
    from backtalk.evaluate.storage import save_evaluation
    from backtalk.policy import read_policy
    from backtalk.reports import save_examples

    budget = make_budget(
        calls=max_calls, tokens=max_tokens, money=max_money, seconds=max_seconds, prices=prices
    )
    with opened(store, project) as db:
        policies = [read_policy(db, name) for name in candidates]
        old = find_policy(against, db)
        questions = read_prompts(db, split=split, file=prompts, limit=limit, seed=seed)
        about = (*(policy.id for policy in policies), old.id, judge)
        with open_run(db, *about, seed=seed, budget=budget, prices=prices) as run:
            result, selection, trial = asyncio.run(
                choose_best(
                    [load(db, policy, run) for policy in policies],
                    load(db, old, run),
                    questions,
                    get_judge(judge, db),
                    run=run,
                    split=split,
                    guards=[get_judge(name, db) for name in guard or []],
                )
            )
        save_evaluation(db, result)
        save_examples(db, result, select_examples(trial, index=1 + selection.winner))
    if json:
        say_json({"evaluation": result.to_dict(), "selection": selection.to_dict()})
        return
    _show_choice(policies, selection)
    show(result, policies[selection.winner], old)


def _show_choice(policies: list[Policy], selection: Selection) -> None:
    from backtalk.cli.output import number, say, say_table

    say_table(
        ("candidate", "mean value on the prompts of the choice", ""),
        [
            (policy.label, f"{mean:.3f}", "chosen" if index == selection.winner else "")
            for index, (policy, mean) in enumerate(zip(policies, selection.means, strict=True))
        ],
        numbers=(1,),
    )
    say(
        f"Selection bias of about {selection.optimism:.3f}: the winner scores "
        f"{number(selection.apparent)} on the prompts of the choice and "
        f"{number(selection.unseen)} on the others."
    )
    say()
