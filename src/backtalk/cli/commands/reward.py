"""``backtalk reward``: learned rewards, and how well they predict feedback."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any, Literal

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
    from backtalk.evaluate.judges import JudgeInfo
    from backtalk.rewards import Reward
    from backtalk.stats.baselines import BaselineComparison


commands = typer.Typer(no_args_is_help=True, help="Learned rewards, and the other judges.")


def add_to(app: typer.Typer, panel: str) -> None:
    """Add the group of commands to a help panel, and ``crossval`` as a command of its own."""
    app.add_typer(commands, name="reward", rich_help_panel=panel)
    app.command("crossval", hidden=True)(crossval)


@commands.command("list")
def list_(
    *, store: StoreOption = STORE, project: ProjectOption = PROJECT, json: JsonOption = False
) -> None:
    """List the judges: registered ones, and the learned rewards of the store.

    Examples
    --------
    - `backtalk reward list`
    """
    from backtalk.cli.context import opened
    from backtalk.cli.output import say, say_json, say_table
    from backtalk.errors import NotFound
    from backtalk.evaluate.judges import judge_names
    from backtalk.rewards.rewards_by_name import reward_names_in

    learned: dict[str, Any] = {}
    with suppress(NotFound), opened(store, project) as db:
        learned = reward_names_in(db)
    names = [*judge_names(), *(f"reward:{name}" for name in learned)]
    if json:
        say_json(names)
        return
    for name in judge_names():
        say(name)
    if learned:
        say()
        say_table(
            ("learned reward", "", "fitted on"),
            [(f"reward:{name}", info.name, _fitted_on(info)) for name, info in learned.items()],
        )


def _fitted_on(info: JudgeInfo) -> str:
    return "unknown feedback" if info.fitted_on is None else info.fitted_on.label


@commands.command("learn")
def learn(
    *,
    name: Annotated[str, typer.Option(help="Name for the reward, as in `--judge reward:NAME`.")],
    split: Annotated[
        Literal["train", "held-out", "all"],
        typer.Option(
            help="Prompts whose feedback is used. A policy that learned from the train split can "
            "be judged by a reward of the held-out split."
        ),
    ] = "held-out",
    embedder: Annotated[
        Literal["hashed", "sentence"], typer.Option(help="Embedder of the reward.")
    ] = "hashed",
    kind: KindsOption = None,
    aspect: AspectOption = "overall",
    seed: SeedOption = 0,
    store: StoreOption = STORE,
    project: ProjectOption = PROJECT,
    json: JsonOption = False,
) -> None:
    """Learn a reward from feedback, for use as a judge.

    Examples
    --------
    - `backtalk reward learn --name checker --split held-out`
    """
    import asyncio

    from backtalk.cli.context import opened
    from backtalk.cli.output import note, progress_bars, say_json
    from backtalk.learn import TrainingSet
    from backtalk.learn.stored_reward import check_title, learn_stored_reward
    from backtalk.rewards import load_reward
    from backtalk.run import Run

    check_title(name)
    with (
        opened(store, project) as db,
        progress_bars() as progress,
        Run(seed=seed, progress=progress) as run,
    ):
        feedback = TrainingSet(db, split=split, kinds=kind, aspect=aspect)
        id_, _ = asyncio.run(learn_stored_reward(feedback, run, embedder=embedder, title=name))
        reward = load_reward(id_, db.artifacts)
    if json:
        say_json(_describe(id_, reward))
        return
    _show_reward(id_, reward)
    note(f"`--judge reward:{name}` of `backtalk evaluate` judges by it.")


@commands.command("show")
def show(
    name: Annotated[
        str, typer.Argument(help="Reward: its name, its id, or a policy that uses it.")
    ],
    *,
    store: StoreOption = STORE,
    project: ProjectOption = PROJECT,
    json: JsonOption = False,
) -> None:
    """Show a learned reward: its feedback, its accuracy and its calibration.

    Examples
    --------
    - `backtalk reward show chooser`
    """
    from backtalk.cli.context import opened
    from backtalk.cli.output import say_json
    from backtalk.evaluate.judges import describe_judge
    from backtalk.rewards.rewards_by_name import find_reward

    with opened(store, project) as db:
        reward = find_reward(name, db)
        id_ = str(describe_judge(reward).artifact)
    if json:
        say_json(_describe(id_, reward))
    else:
        _show_reward(id_, reward)


def _describe(id_: str, reward: Reward) -> dict[str, Any]:
    from backtalk.evaluate.judges import describe_judge

    fields = {name: getattr(reward, name, None) for name in (*_FIT, "remark")}
    return {"id": id_, **describe_judge(reward).to_dict(), **fields}


_FIT = ("pairs", "points", "prompts", "decided", "correct", "concordance", "calibration_slope")
"""Attributes of a learned reward that describe its fit."""


def _show_reward(id_: str, reward: Reward) -> None:
    from backtalk.cli.output import note, say, say_table
    from backtalk.evaluate.judges import describe_judge

    fields = _describe(id_, reward)
    say(f"{reward.name} ({id_[:8]})")
    rows = [("fitted on", _fitted_on(describe_judge(reward)))]
    rows += [
        (label, f"{fields[name]:,}")
        for name, label in (
            ("pairs", "pairs"),
            ("points", "judgements of single answers"),
            ("prompts", "prompts"),
        )
        if fields[name]
    ]
    if fields["decided"]:
        accuracy = fields["correct"] / fields["decided"]
        rows.append(
            (
                "accuracy in cross-validation",
                f"{100 * accuracy:.1f} % of {fields['decided']:,} pairs with a winner",
            )
        )
    if fields["calibration_slope"] is not None:
        rows.append(("calibration slope", f"{fields['calibration_slope']:.3g}"))
    say_table(("", ""), rows)
    if fields["remark"]:
        note(f"{fields['remark']}.")


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
        feedback = TrainingSet(db, split="all", kinds=kind, aspect=aspect).plain_texts()
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
