"""``backtalk preflight``: the checks before training, alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from backtalk.cli.options import (
    PROJECT,
    STORE,
    JsonOption,
    KindsOption,
    OptionsOption,
    ProjectOption,
    SeedOption,
    StoreOption,
)

if TYPE_CHECKING:
    from backtalk.learn.finetune.preflight import Preflight


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("preflight")(preflight)


def preflight(
    method: Annotated[str, typer.Argument(help="A method that trains weights.")],
    *,
    policy: Annotated[
        str | None, typer.Option(help="What to improve; what is served, if left out.")
    ] = None,
    option: OptionsOption = None,
    kind: KindsOption = None,
    split: Annotated[
        Literal["train", "all"],
        typer.Option(help="`all` also learns from the prompts held out for evaluation."),
    ] = "train",
    rows: Annotated[int, typer.Option(min=0, help="How many responses to show.")] = 6,
    seed: SeedOption = 0,
    store: StoreOption = STORE,
    project: ProjectOption = PROJECT,
    json: JsonOption = False,
) -> None:
    """Check what a training would learn from, without training.

    Shows responses as the trainer sees them: what stands between \u27e6 and \u27e7 is read and not
    learned. `backtalk learn` makes the same checks, and does not begin if one fails.

    Examples
    --------
    - `backtalk preflight dpo --policy plain`
    - `backtalk preflight sft --policy plain --kind edit --rows 2`
    """
    import asyncio

    from backtalk.cli.context import assignments, opened, run_of, served_or_error
    from backtalk.cli.exit_codes import ExitCode
    from backtalk.learn import TrainingSet
    from backtalk.learn.finetune import dry_run
    from backtalk.policy import read_policy

    with opened(store, project) as db:
        parent = served_or_error(db) if policy is None else read_policy(db, policy)
        options: dict[str, Any] = dict(assignments(option))
        about = ("preflight", method, parent.id, *sorted(map(str, options.items())))
        with run_of(db, *about, seed=seed) as run:
            feedback = TrainingSet(db, split=split, kinds=kind)
            result = asyncio.run(dry_run(method, parent, feedback, run, **options))
    _show(result, rows, json=json)
    if not result.passed:
        raise typer.Exit(ExitCode.ERROR)


def _show(found: Preflight, rows: int, *, json: bool) -> None:
    from backtalk.cli.output import say, say_json, say_table

    if json:
        say_json(
            {
                "passed": found.passed,
                "checks": [vars(check) for check in found.checks],
                "rows": [{"part": row.part, "text": str(row)} for row in found.shown[:rows]],
            }
        )
        return
    for row in found.shown[:rows]:
        say(f"{row.part}: {row}")
        say()
    say_table(
        ("", "check", "found"),
        [("ok" if check.passed else "FAILED", check.name, check.found) for check in found.checks],
    )
