"""``backtalk learn``: learn a policy from stored feedback."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from backtalk.cli.options import (
    PROJECT,
    STORE,
    AspectOption,
    CallsOption,
    JsonOption,
    KindsOption,
    MethodOptionsOption,
    MoneyOption,
    PolicyNameOption,
    PolicyOption,
    PricesOption,
    ProjectOption,
    SecondsOption,
    SeedOption,
    SendToOption,
    StoreOption,
    TokensOption,
    TrainLimitOption,
    TrainSplitOption,
)

if TYPE_CHECKING:
    from backtalk.policy import Policy

MethodArgument = Annotated[
    str, typer.Argument(help="Method to learn with; `backtalk methods` lists them.")
]


_HIDDEN_NOTES = {"remark", "history", "change", "left out rows"}
"""Notes of a lineage that are not in the table: a sentence, the ids of artifacts, and what the
lines above it say."""


def add_to(app: typer.Typer, panel: str) -> None:
    """Add the command to a help panel."""
    app.command("learn", rich_help_panel=panel)(learn)


def learn(
    method: MethodArgument,
    *,
    policy: PolicyOption = None,
    name: PolicyNameOption = None,
    option: MethodOptionsOption = None,
    kind: KindsOption = None,
    aspect: AspectOption = "overall",
    split: TrainSplitOption = "train",
    limit: TrainLimitOption = None,
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
    """Learn a new policy from the feedback in a store.

    Prompts held out for evaluation are not used. The new policy is saved, not promoted: evaluate
    it, then promote it. `backtalk learn-online` learns in rounds, from feedback on the policy's
    own answers. With `--watch` it learns again as feedback arrives, like `backtalk watch`, and has
    the options of that command.

    Examples
    --------
    - `backtalk learn best-of-n --policy plain --name chooser -o n=16`
    - `backtalk learn best-of-n --policy plain --kind preference --kind ranking`
    - `backtalk learn dpo --policy plain -o beta=0.3 -o adapter=lora`
    - `backtalk learn dpo --policy plain --aspect safety`
    - `backtalk learn dpo --policy plain --limit 100`
    - `backtalk learn memory --name remembers --watch --every 20`
    """
    import asyncio

    from backtalk.api import alearn, find_policy
    from backtalk.cli.context import (
        make_budget,
        opened,
        read_assignments,
        store_options,
        with_options,
    )
    from backtalk.cli.output import note, progress_bars, say_json
    from backtalk.cli.policy_names import note_other_name
    from backtalk.cli.sending import with_address
    from backtalk.learn import get_method
    from backtalk.learn.left_out_rows import describe_left_out
    from backtalk.learn.next_steps import evaluation_command
    from backtalk.models import load_prices
    from backtalk.policy import diff, saved_policy

    options: dict[str, Any] = dict(read_assignments(option))
    get_method(method).read_options(options)
    budget = make_budget(
        calls=max_calls, tokens=max_tokens, money=max_money, seconds=max_seconds, prices=prices
    )
    with opened(store, project) as db:
        parent = find_policy(policy, db)

        def work() -> Policy:
            with progress_bars() as progress:
                return asyncio.run(
                    alearn(
                        method,
                        parent,
                        db,
                        name=name,
                        split=split,
                        kinds=kind,
                        aspect=aspect,
                        limit=limit,
                        seed=seed,
                        budget=budget,
                        prices=None if prices is None else load_prices(prices),
                        progress=progress,
                        **options,
                    )
                )

        learned = with_address(work, send_to=send_to)
        saved = saved_policy(db, learned)
        following = f"Next: `{evaluation_command(saved, parent, db)}`"
        left_out = describe_left_out(learned, db.artifacts)
    changes = diff(parent, learned)
    if json:
        say_json({"id": learned.id, **learned.to_dict(), "changes": changes})
    else:
        _show(learned, parent, changes)
        for line in left_out:
            note(line)
        note_other_name(learned, saved)
        note(with_options(following, store_options(store, project)))


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
            *(
                (key, "; ".join(map(str, value)) if isinstance(value, list) else str(value))
                for key, value in lineage.notes.items()
                if key not in _HIDDEN_NOTES and value != []
            ),
        ],
        numbers=(1,),
    )
    if "remark" in lineage.notes:
        note(f"{lineage.notes['remark']}.")
