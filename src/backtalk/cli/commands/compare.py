"""``backtalk compare``: choose the best of several policies, without selection bias."""

from __future__ import annotations

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
    judge: JudgeOption = None,
    guard: GuardOption = None,
    split: SplitOption = "held-out",
    prompts: PromptsOption = None,
    limit: LimitOption = None,
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
    """Choose the best of several policies on half of the prompts, evaluate it on the other half.

    On the prompts it was chosen on, the winner looks better than it is. The command prints this
    selection bias; the evaluation is on the prompts that were not used for the choice.

    Examples
    --------
    - `backtalk compare n4 n16 n64 --against plain --judge true-utility`
    """
    import asyncio

    from backtalk.api import acompare, find_policy
    from backtalk.cli.context import make_budget, opened, read_prompts, store_options
    from backtalk.cli.evaluations import (
        judge_name,
        read_judge,
        show,
        show_next,
        warn_if_circular,
    )
    from backtalk.cli.output import progress_bars, say_json
    from backtalk.cli.sending import sending
    from backtalk.models import load_prices
    from backtalk.policy import read_policy

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
        policies = [read_policy(db, name) for name in candidates]
        old = find_policy(against, db)
        questions = read_prompts(db, split=split, file=prompts, limit=limit, seed=seed)
        judge = judge_name(judge, policies[0], old, db)
        judges = (judge, *(guard or ()))
        with (
            sending([*policies, old], send_to=send_to, prompts=len(questions), judges=judges),
            progress_bars() as progress,
        ):
            chosen = read_judge(judge, db, wait=wait)
            warn_if_circular(chosen, policies, db, options=options)
            comparison = asyncio.run(
                acompare(
                    policies,
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
        result, selection = comparison.evaluation, comparison.selection
        if json:
            say_json({"evaluation": result.to_dict(), "selection": selection.to_dict()})
            return
        winner = policies[selection.winner]
        _show_choice(policies, selection)
        show(result, winner, old, priced=prices is not None)
        show_next(result, winner, db, judge=judge, options=options)


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
    seen = number(selection.apparent) or f"{selection.means[selection.winner]:.3f}"
    text = f"Selection bias of about {selection.optimism:.3f}: the winner scores {seen} on the "
    text += "prompts of the choice"
    if selection.unseen is not None:
        text += f" and {number(selection.unseen)} on the others"
    say(f"{text}.")
    say()
