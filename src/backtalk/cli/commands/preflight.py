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
    TrainLimitOption,
    TrainSplitOption,
)

if TYPE_CHECKING:
    from backtalk.learn.finetune.preflight import Check, Preflight, RenderedResponse


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
    limit: TrainLimitOption = None,
    rows: Annotated[int, typer.Option(min=0, help="Number of responses to show.")] = 6,
    seed: SeedOption = 0,
    store: StoreOption = STORE,
    project: ProjectOption = PROJECT,
    json: JsonOption = False,
) -> None:
    """Check what a training run would learn from, without training.

    Checks a few rows first and prints each result at once, then counts all rows. Shows responses as
    the trainer sees them: text between \u27e6 and \u27e7 is masked: read but not trained on.
    `backtalk learn` runs the same checks and stops if one fails.

    Examples
    --------
    - `backtalk preflight dpo --policy plain`
    - `backtalk preflight sft --policy plain --kind edit --rows 2`
    - `backtalk preflight dpo --policy plain --limit 100`
    """
    import asyncio

    from backtalk.api import find_policy
    from backtalk.cli.context import open_run, opened, read_assignments
    from backtalk.cli.exit_codes import ExitCode
    from backtalk.learn import TrainingSet, get_method
    from backtalk.learn.finetune import dry_run

    with opened(store, project) as db:
        parent = find_policy(policy, db)
        options: dict[str, Any] = dict(read_assignments(option))
        about = ("preflight", method, parent.id, *sorted(map(str, options.items())))
        needs = get_method(method).views
        with open_run(db, *about, seed=seed) as run:
            feedback = TrainingSet(db, split=split, kinds=kind, aspect=aspect)
            result = asyncio.run(
                dry_run(
                    method,
                    parent,
                    feedback.limited(limit, seed=seed, needs=needs),
                    run,
                    report=None if json else _Printer(rows),
                    **options,
                )
            )
    if json:
        _say_json(result, rows)
    if not result.passed:
        raise typer.Exit(ExitCode.ERROR)


class _Printer:
    """Prints rendered responses, up to a number, and checks as they become known."""

    def __init__(self, rows: int) -> None:
        self._rows = rows

    def __call__(self, result: Check | RenderedResponse) -> None:
        from backtalk.cli.output import say
        from backtalk.learn.finetune.preflight import Check

        if isinstance(result, Check):
            say(f"{'ok' if result.passed else 'FAILED':<8}{result.name}")
            say(f"        {result.measured}")
        elif self._rows:
            self._rows -= 1
            say(f"{result.task}: {result}")
            say()


def _say_json(result: Preflight, rows: int) -> None:
    from backtalk.cli.output import say_json

    say_json(
        {
            "passed": result.passed,
            "checks": [vars(check) for check in result.checks],
            "rows": [{"task": row.task, "text": str(row)} for row in result.responses[:rows]],
        }
    )
