"""``backtalk learn``: a better policy from feedback."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from backtalk.cli.options import (
    PROJECT,
    STORE,
    CallsOption,
    JsonOption,
    KindsOption,
    MoneyOption,
    OptionsOption,
    PricesOption,
    ProjectOption,
    SecondsOption,
    SeedOption,
    StoreOption,
    TokensOption,
)

if TYPE_CHECKING:
    from backtalk.policy import Policy


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("learn")(learn)


def learn(
    method: Annotated[str, typer.Argument(help="A method, as `backtalk methods` lists them.")],
    *,
    policy: Annotated[
        str | None, typer.Option(help="What to improve; what is served, if left out.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="What to call the policy learned.")] = None,
    option: OptionsOption = None,
    kind: KindsOption = None,
    split: Annotated[
        Literal["train", "all"],
        typer.Option(help="`all` also learns from the prompts held out for evaluation."),
    ] = "train",
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
    """Learn a better policy from the feedback in a store.

    Prompts that evaluation needs are held out. The new policy is kept, not served: evaluate it,
    then promote it.

    Examples
    --------
    - `backtalk learn best-of-n --policy plain --name chooser -o n=16`
    - `backtalk learn best-of-n --policy plain --kind preference --kind ranking`
    """
    import asyncio

    from backtalk.cli.loading import assignments, budget_of, opened, run_of, served_or_error
    from backtalk.cli.output import say_json
    from backtalk.learn import TrainingSet, find_method
    from backtalk.policy import diff, read_policy, save_policy

    chosen = find_method(method)
    budget = budget_of(calls=max_calls, tokens=max_tokens, money=max_money, seconds=max_seconds)
    with opened(store, project) as kept:
        parent = served_or_error(kept) if policy is None else read_policy(kept, policy)
        options: dict[str, Any] = dict(assignments(option))
        about = (method, parent.id, *sorted(map(str, options.items())))
        with run_of(kept, *about, seed=seed, budget=budget, prices=prices) as run:
            feedback = TrainingSet(kept, split=split, kinds=kind)
            learned = asyncio.run(chosen.learn(parent, feedback, run, **options))
        if name is not None:
            learned = learned.named(name)
        save_policy(kept, learned)
    changes = diff(parent, learned)
    if json:
        say_json({"id": learned.id, **learned.to_dict(), "changes": changes})
    else:
        _show(learned, parent, changes)


def _show(learned: Policy, parent: Policy, changes: list[str]) -> None:
    from backtalk.cli.output import note, say, say_table

    say(f"Learned {learned.label} ({learned.id[:8]}) from {parent.label} ({parent.id[:8]})")
    for change in changes:
        say(f"  {change}")
    lineage = learned.lineage
    counts = {} if lineage.snapshot is None else lineage.snapshot.counts
    say_table(
        ("from", ""),
        [
            *((kind, f"{count:,}") for kind, count in counts.items()),
            *((key, str(value)) for key, value in lineage.notes.items()),
        ],
        numbers=(1,),
    )
    note(f"Next: backtalk evaluate {learned.label} --against {parent.label}")
