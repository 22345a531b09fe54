"""``backtalk preflight``: run the checks that precede training, without training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from backtalk.cli.options import (
    PROJECT,
    STORE,
    AspectOption,
    JsonOption,
    KindsOption,
    MethodOptionsOption,
    PolicyOption,
    ProjectOption,
    SeedOption,
    StoreOption,
    TrainSplitOption,
)

if TYPE_CHECKING:
    from backtalk.learn.finetune.preflight import Preflight


def add_to(app: typer.Typer, panel: str) -> None:
    """Add the command to a help panel."""
    app.command("preflight", rich_help_panel=panel)(preflight)


def preflight(
    method: Annotated[str, typer.Argument(help="Method that trains weights.")],
    *,
    policy: PolicyOption = None,
    option: MethodOptionsOption = None,
    kind: KindsOption = None,
    aspect: AspectOption = "overall",
    split: TrainSplitOption = "train",
    rows: Annotated[int, typer.Option(min=0, help="Number of responses to show.")] = 6,
    seed: SeedOption = 0,
    store: StoreOption = STORE,
    project: ProjectOption = PROJECT,
    json: JsonOption = False,
) -> None:
    """Check what a training run would learn from, without training.

    Shows responses as the trainer sees them: text between \u27e6 and \u27e7 is masked: read
    but not trained on. `backtalk learn` runs the same checks and stops if one fails.

    Examples
    --------
    - `backtalk preflight dpo --policy plain`
    - `backtalk preflight sft --policy plain --kind edit --rows 2`
    """
    import asyncio

    from backtalk.api import find_policy
    from backtalk.cli.context import open_run, opened, read_assignments
    from backtalk.cli.exit_codes import ExitCode
    from backtalk.learn import TrainingSet
    from backtalk.learn.finetune import dry_run

    with opened(store, project) as db:
        parent = find_policy(policy, db)
        options: dict[str, Any] = dict(read_assignments(option))
        about = ("preflight", method, parent.id, *sorted(map(str, options.items())))
        with open_run(db, *about, seed=seed) as run:
            feedback = TrainingSet(db, split=split, kinds=kind, aspect=aspect)
            result = asyncio.run(dry_run(method, parent, feedback, run, **options))
    _show(result, rows, json=json)
    if not result.passed:
        raise typer.Exit(ExitCode.ERROR)


def _show(result: Preflight, rows: int, *, json: bool) -> None:
    from backtalk.cli.output import say, say_json, say_table

    if json:
        say_json(
            {
                "passed": result.passed,
                "checks": [vars(check) for check in result.checks],
                "rows": [{"task": row.task, "text": str(row)} for row in result.responses[:rows]],
            }
        )
        return
    for row in result.responses[:rows]:
        say(f"{row.task}: {row}")
        say()
    say_table(
        ("", "check", "result"),
        [
            ("ok" if check.passed else "FAILED", check.name, check.measured)
            for check in result.checks
        ],
    )
