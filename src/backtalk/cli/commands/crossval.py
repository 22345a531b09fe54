"""``backtalk crossval``: how good a reward this feedback makes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from backtalk.cli.options import (
    PROJECT,
    STORE,
    JsonOption,
    KindsOption,
    ProjectOption,
    SeedOption,
    StoreOption,
)

if TYPE_CHECKING:
    from backtalk.evaluate.cross_validation import CrossValidation
    from backtalk.stats.baselines import BaselineComparison


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("crossval")(crossval)


def crossval(
    *,
    folds: Annotated[int, typer.Option(min=2, help="How many folds, by prompt.")] = 10,
    embedder: Annotated[
        Literal["hashed", "sentence"], typer.Option(help="What the reward reads answers with.")
    ] = "hashed",
    choose: Annotated[
        bool,
        typer.Option(
            "--choose", help="Also let the reward choose among the recorded answers of a prompt."
        ),
    ] = False,
    kind: KindsOption = None,
    seed: SeedOption = 0,
    store: StoreOption = STORE,
    project: ProjectOption = PROJECT,
    json: JsonOption = False,
) -> None:
    """Cross-validate a reward: how well it predicts feedback on prompts that it has not seen.

    Answers with one and the same prompt are compared across interactions and stay in one fold.

    Examples
    --------
    - `backtalk crossval --embedder sentence`
    - `backtalk crossval --folds 5 --choose`
    """
    import asyncio

    from backtalk.cli.context import opened
    from backtalk.cli.output import progress_bars, say_json
    from backtalk.evaluate.cross_validation import cross_validate
    from backtalk.feedback.views import Pair
    from backtalk.learn import TrainingSet
    from backtalk.rewards import RecordedReward
    from backtalk.run import Run

    with (
        opened(store, project) as db,
        progress_bars() as progress,
        Run(seed=seed, progress=progress) as run,
    ):
        feedback = TrainingSet(db, split="all", kinds=kind)
        pairs = feedback.views(Pair, across="prompt")
        recorded = RecordedReward.of(feedback.cases()) if choose else None
        result = asyncio.run(
            cross_validate(pairs, run=run, embedder=embedder, folds=folds, recorded=recorded)
        )
    if json:
        say_json(result.to_dict())
    else:
        _show(result)


def _show(found: CrossValidation) -> None:
    from backtalk.cli.output import number, percent, say, say_table

    say(
        f"{found.pairs:,} pairs on {found.prompts:,} prompts, {found.folds} folds by prompt, "
        f"{found.embedder} embeddings"
    )
    say_table(
        ("which of two answers is preferred", "accuracy", "the reward's lead"),
        [
            ("the reward's guess", percent(found.accuracy), ""),
            *(
                (name, percent(rule.accuracy), number(rule.difference, signed=True))
                for name, rule in found.rules.items()
            ),
        ],
        numbers=(1, 2),
    )
    say(f"Brier score {number(found.brier)}; 0.25 for always saying one half")
    if found.calibration is not None:
        say(
            f"Calibration error {found.calibration.value:.3f}; "
            f"{found.calibration.by_chance:.3f} is to be expected by chance alone"
        )
    if found.choice is not None:
        say()
        _show_choice(found.choice, found)


def _show_choice(choice: BaselineComparison, found: CrossValidation) -> None:
    from backtalk.cli.output import number, say, say_table

    say(f"Best of {found.candidates:.1f} recorded answers on {found.choices:,} prompts")
    say_table(
        ("who chooses", "value by recorded feedback", "the reward's lead"),
        [
            ("the reward", number(choice.chooser), ""),
            *(
                (name, number(score.score), number(score.difference, signed=True))
                for name, score in choice.baselines.items()
            ),
            ("somebody who knows", number(choice.ceiling), ""),
        ],
        numbers=(1, 2),
    )
