"""``backtalk reward``: reward models, and how well they predict feedback."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from backtalk.cli.options import (
    PROJECT,
    STORE,
    AspectOption,
    JsonOption,
    KindsOption,
    ProjectOption,
    SeedOption,
    StoreOption,
)

if TYPE_CHECKING:
    from backtalk.evaluate.cross_validation import CrossValidation
    from backtalk.stats.baselines import BaselineComparison


commands = typer.Typer(no_args_is_help=True, help="Reward models.")


def add_to(app: typer.Typer, panel: str) -> None:
    """Add the group of commands to a help panel, and ``crossval`` as a command of its own."""
    app.add_typer(commands, name="reward", rich_help_panel=panel)
    app.command("crossval", hidden=True)(crossval)


@commands.command("list")
def list_(*, json: JsonOption = False) -> None:
    """List the registered rewards, which can be named as judges.

    Examples
    --------
    - `backtalk reward list`
    """
    from backtalk.cli.output import say, say_json
    from backtalk.evaluate.judges import judge_names

    if json:
        say_json(judge_names())
        return
    for name in judge_names():
        say(name)


@commands.command("crossval")
def crossval(
    *,
    folds: Annotated[
        int, typer.Option(min=2, help="Number of folds. Answers to one prompt stay in one fold.")
    ] = 10,
    embedder: Annotated[
        Literal["hashed", "sentence"], typer.Option(help="Embedder of the reward model.")
    ] = "hashed",
    choose: Annotated[
        bool,
        typer.Option(
            "--choose",
            help="Also measure best-of-n: let the reward choose among the recorded answers.",
        ),
    ] = False,
    kind: KindsOption = None,
    aspect: AspectOption = "overall",
    seed: SeedOption = 0,
    store: StoreOption = STORE,
    project: ProjectOption = PROJECT,
    json: JsonOption = False,
) -> None:
    """Cross-validate a reward model: how well it predicts feedback on unseen prompts.

    Answers to the same prompt are compared across interactions and stay in one fold.

    Examples
    --------
    - `backtalk reward crossval --embedder sentence`
    - `backtalk reward crossval --folds 5 --choose`
    """
    import asyncio

    from backtalk.cli.context import opened
    from backtalk.cli.output import note, progress_bars, say_json
    from backtalk.evaluate.cross_validation import cross_validate
    from backtalk.feedback.views import Pair
    from backtalk.learn import TrainingSet
    from backtalk.learn.decoding.best_of_n import require_winner
    from backtalk.rewards import RecordedReward
    from backtalk.run import Run

    with (
        opened(store, project) as db,
        progress_bars() as progress,
        Run(seed=seed, progress=progress) as run,
    ):
        feedback = TrainingSet(db, split="all", kinds=kind, aspect=aspect)
        pairs = feedback.views(Pair, across="prompt")
        require_winner(pairs, feedback)
        recorded = RecordedReward.from_cases(feedback.cases(), aspect=aspect) if choose else None
        result = asyncio.run(
            cross_validate(pairs, run=run, embedder=embedder, folds=folds, recorded=recorded)
        )
    if json:
        say_json(result.to_dict())
    else:
        _show(result)
        left_out, mend = feedback.explain_left_out()
        if left_out:
            note(f"Left out: {left_out}. {mend}")


def _show(result: CrossValidation) -> None:
    from backtalk.cli.output import number, percent, say, say_table

    say(
        f"{result.pairs:,} pairs on {result.prompts:,} prompts, {result.folds} folds by prompt, "
        f"{result.embedder} embeddings"
    )
    say_table(
        ("predicts the preferred answer", "accuracy", "lead of the reward"),
        [
            ("reward model", percent(result.accuracy), ""),
            *(
                (name, percent(rule.accuracy), number(rule.difference, signed=True))
                for name, rule in result.rules.items()
            ),
        ],
        numbers=(1, 2),
    )
    say(f"Brier score {number(result.brier)}; a constant 0.5 scores 0.25")
    if result.calibration is not None:
        say(
            f"Calibration error {result.calibration.value:.3f}; "
            f"{result.calibration.by_chance:.3f} expected by chance"
        )
    if result.choice is not None:
        say()
        _show_choice(result.choice, result)


def _show_choice(choice: BaselineComparison, result: CrossValidation) -> None:
    from backtalk.cli.output import number, say, say_table

    say(f"Best of {result.candidates:.1f} recorded answers on {result.choices:,} prompts")
    say_table(
        ("chooser", "value by recorded feedback", "lead of the reward"),
        [
            ("reward model", number(choice.chooser), ""),
            *(
                (name, number(score.score), number(score.difference, signed=True))
                for name, score in choice.baselines.items()
            ),
            ("oracle", number(choice.ceiling), ""),
        ],
        numbers=(1, 2),
    )
