"""``backtalk learn-online``: learn in rounds, from feedback on the policy's own answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from backtalk.cli.commands.learn import MethodArgument
from backtalk.cli.options import (
    PROJECT,
    STORE,
    CallsOption,
    JsonOption,
    MethodOptionsOption,
    MoneyOption,
    PolicyOption,
    PricesOption,
    ProjectOption,
    SecondsOption,
    SeedOption,
    SendToOption,
    StoreOption,
    TokensOption,
)

if TYPE_CHECKING:
    from backtalk.learn import Method
    from backtalk.learn.online.feedback_sources import FeedbackSource
    from backtalk.learn.online.loop import OnlineResult
    from backtalk.store import Store


def add_to(app: typer.Typer, panel: str) -> None:
    """Add the command to a help panel."""
    app.command("learn-online", rich_help_panel=panel)(learn_online)


def learn_online(
    context: typer.Context,
    method: MethodArgument,
    *,
    policy: PolicyOption = None,
    option: MethodOptionsOption = None,
    rounds: Annotated[int, typer.Option(min=1, help="Maximum number of rounds.")] = 3,
    judge: Annotated[
        str | None,
        typer.Option(
            help="Judge that gives the feedback and evaluates each round on held-out prompts; see "
            "`backtalk evaluate --help`."
        ),
    ] = None,
    people: Annotated[
        bool,
        typer.Option(
            "--people",
            help="Take the feedback from people: a round waits until its answers have some. "
            "With --judge, the judge evaluates the rounds only.",
        ),
    ] = False,
    prompts_per_round: Annotated[
        int, typer.Option(min=1, help="Number of prompts to answer in each round.")
    ] = 200,
    num_samples: Annotated[int, typer.Option(min=2, help="Number of answers to each prompt.")] = 4,
    sampler: Annotated[
        str | None,
        typer.Option(
            help="Policies that generate the answers: policy, first, mixture, average or pilaf. "
            "Default: that of the method."
        ),
    ] = None,
    mixture_weight: Annotated[
        float,
        typer.Option(
            min=0,
            max=1,
            help="Weight of the first or of earlier policies in the samplers mixture, average and "
            "pilaf.",
        ),
    ] = 0.125,
    pair_selection: Annotated[
        str | None,
        typer.Option(
            help="Pairs of answers that the judge compares: best-worst, two, all, mutual, ... "
            "Default: that of the method."
        ),
    ] = None,
    teacher: Annotated[
        str | None,
        typer.Option(help="Policy that adds one more answer to each prompt, by name or id."),
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
    """Learn in rounds: answer prompts, get feedback on the answers, learn, evaluate.

    Learning ends after the last round, when the budget is exceeded, or when a round is not shown
    to be better than the one before. The same command, given again, resumes where it ended.

    Examples
    --------
    - `backtalk learn-online dpo --policy plain --rounds 3 --judge true-utility`
    - `backtalk learn-online best-of-n --policy plain --people --prompts-per-round 50`
    """
    import asyncio

    from backtalk.api import find_policy
    from backtalk.cli.context import (
        make_budget,
        open_run,
        opened,
        read_assignments,
        read_prompts,
        store_options,
        with_options,
    )
    from backtalk.cli.output import note
    from backtalk.cli.sending import sending
    from backtalk.evaluate.judges import get_scorer
    from backtalk.evaluate.storage import save_evaluation
    from backtalk.learn import get_method
    from backtalk.learn.left_out_rows import describe_left_out
    from backtalk.learn.next_steps import evaluation_command
    from backtalk.learn.online.loop import OnlineConfig, OnlineLearner
    from backtalk.policy import read_policy

    chosen = get_method(method)
    options: dict[str, Any] = dict(read_assignments(option))
    chosen.read_options(options)
    _refuse_idle_options(context, chosen, people=people, sampler=sampler)
    budget = make_budget(
        calls=max_calls, tokens=max_tokens, money=max_money, seconds=max_seconds, prices=prices
    )
    with opened(store, project) as db:
        parent = find_policy(policy, db)
        if teacher is not None:
            read_policy(db, teacher)
        reward = None if judge is None else get_scorer(judge, db)
        source = _feedback_source(chosen, db, reward, people=people, pairs=pair_selection)
        config = OnlineConfig(
            rounds=rounds,
            prompts_per_round=prompts_per_round,
            num_samples=num_samples,
            sampler=sampler,
            mixture_weight=mixture_weight,
            teacher=teacher,
        )
        identity = (
            method,
            parent.id,
            *sorted(map(str, options.items())),
            str(config),
            str(judge),
            str(pair_selection),
            str(people),
        )
        train = read_prompts(db, split="train", file=None, limit=None, seed=0)
        held_out = read_prompts(db, split="held-out", file=None, limit=None, seed=0)
        answering = [parent] if teacher is None else [parent, read_policy(db, teacher)]
        with (
            sending(
                answering,
                send_to=send_to,
                prompts=min(rounds * prompts_per_round, len(train)) + len(held_out),
                judges=[] if judge is None else [judge],
            ),
            open_run(db, *identity, seed=seed, budget=budget, prices=prices) as run,
        ):
            learner = OnlineLearner(
                chosen,
                db,
                run,
                feedback_source=source,
                judge=reward,
                config=config,
                options=options,
            )
            result = asyncio.run(learner.learn(parent, train, held_out))
        for evaluation in result.evaluations:
            save_evaluation(db, evaluation)
        following = ""
        if result.best is not None:
            command = evaluation_command(result.best, parent, db)
            following = with_options(f"Next: `{command}`", store_options(store, project))
        left_out = [
            (index, line)
            for index, learned in enumerate(result.policies, 1)
            for line in describe_left_out(learned, db.artifacts)
        ]
    _show(result, following, json=json)
    for index, line in [] if json else left_out:
        note(f"Round {index}: {line}")


def _refuse_idle_options(
    context: typer.Context, method: Method, *, people: bool, sampler: str | None
) -> None:
    from backtalk.cli.context import refuse_options
    from backtalk.learn.online.loop import needs_scores
    from backtalk.learn.online.samplers import get_sampler

    name = sampler or method.online.sampler
    get_sampler(name)
    if name in {"policy", "first"}:
        refuse_options(
            context,
            "mixture_weight",
            because=f"the sampler {name} mixes no policies",
            mend="Choose --sampler mixture, average or pilaf",
        )
    if people:
        refuse_options(
            context, "pair_selection", because="with --people, people choose what to compare"
        )
    elif needs_scores(method):
        refuse_options(
            context,
            "pair_selection",
            because=f"{method.name} learns from scores, so no pairs are selected",
        )


def _feedback_source(
    method: Method, store: Store, reward: Any, *, people: bool, pairs: str | None
) -> FeedbackSource:
    from backtalk.errors import BacktalkError
    from backtalk.learn.online.feedback_sources import HumanFeedback
    from backtalk.learn.online.loop import needs_scores
    from backtalk.learn.online.oracle_feedback import make_feedback_source

    if people:
        return HumanFeedback(store)
    if reward is None:
        raise BacktalkError(
            "learn-online needs a source of feedback",
            "Name a judge with --judge (`backtalk evaluate --help` lists them), or give --people",
        )
    pairs = pairs or method.online.pair_selection
    return make_feedback_source(reward, pairs, rates=needs_scores(method))


def _show(result: OnlineResult, following: str, *, json: bool) -> None:
    from itertools import zip_longest

    from backtalk.cli.output import note, number, percent, say, say_json, say_table

    if json:
        say_json(
            {
                "policies": [policy.id for policy in result.policies],
                "evaluations": [evaluation.to_dict() for evaluation in result.evaluations],
                "ended": result.ended,
                "best": None if result.best is None else result.best.id,
            }
        )
        return
    say_table(
        ("round", "policy", "win rate over the round before", "value"),
        [
            (
                str(index),
                policy.id[:8],
                *(
                    ("", "")
                    if item is None
                    else (percent(item.win_rate), number(item.value.candidate))
                ),
            )
            for index, (policy, item) in enumerate(
                zip_longest(result.policies, result.evaluations), 1
            )
        ],
    )
    say(f"Ended: {result.ended}.")
    if following:
        note(following)
