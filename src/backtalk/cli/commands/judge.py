"""``backtalk judge``: judges by name, and checks of them against people's feedback."""

from __future__ import annotations

from typing import Annotated

import typer

from backtalk.cli.options import (
    PROJECT,
    STORE,
    CallsOption,
    JsonOption,
    MoneyOption,
    PricesOption,
    ProjectOption,
    SecondsOption,
    SeedOption,
    SendToOption,
    StoreOption,
    TokensOption,
)

commands = typer.Typer(no_args_is_help=True, help="Judges of answers.")


def add_to(app: typer.Typer, panel: str) -> None:
    """Add the group of commands to a help panel."""
    app.add_typer(commands, name="judge", rich_help_panel=panel)


@commands.command("list")
def list_(*, json: JsonOption = False) -> None:
    """List the names that `--judge` takes.

    Examples
    --------
    - `backtalk judge list`
    """
    from backtalk.cli.output import say, say_json
    from backtalk.evaluate.judges import judge_names

    if json:
        say_json(judge_names())
        return
    for name in judge_names():
        say(name)


@commands.command("check")
def check(
    judge: Annotated[
        str,
        typer.Argument(
            help="Judge: `llm:MODEL`, `llm:MODEL@ADDRESS`, `llm:FILE.yaml`, `reward:ID` or a "
            "registered reward."
        ),
    ],
    *,
    pairs: Annotated[
        int, typer.Option(min=1, help="Maximum number of pairs; held-out prompts come first.")
    ] = 200,
    aspect: Annotated[
        str | None,
        typer.Option(help="Aspect of people's judgements. Default: that of the judge."),
    ] = None,
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
    """Measure how often a judge agrees with people, and its bias to position and length.

    The judge compares pairs of answers that people have compared, ranked, rated or labelled, in
    both orders. Its verdicts are kept, so that no pair is paid for twice.

    Examples
    --------
    - `backtalk judge check true-utility --pairs 50`
    - `backtalk judge check llm:small@http://localhost:8000/v1 --max-calls 200`
    """
    import asyncio

    from backtalk.cli.context import make_budget, open_run, opened
    from backtalk.cli.output import say, say_json
    from backtalk.cli.sending import sending
    from backtalk.evaluate.judges import get_judge
    from backtalk.evaluate.judges.check import check_judge, describe_check, pairs_for

    budget = make_budget(
        calls=max_calls, tokens=max_tokens, money=max_money, seconds=max_seconds, prices=prices
    )
    with opened(store, project) as db, sending([], send_to=send_to, judges=(judge,)):
        chosen = get_judge(judge, db)
        sample = pairs_for(chosen, db, aspect=aspect, limit=pairs)
        with open_run(db, "judge", judge, seed=seed, budget=budget, prices=prices) as run:
            before = run.spent.usage.calls
            result = asyncio.run(check_judge(chosen, sample, run=run))
            calls = run.spent.usage.calls - before
    if json:
        say_json(result.to_dict())
        return
    say(f"{result.judge}" + (f", {calls} new calls" if calls else ""))
    for line in describe_check(result):
        say(line)
