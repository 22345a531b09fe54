"""``backtalk learn``: a better policy from feedback."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from backtalk.cli.options import (
    PROJECT,
    STORE,
    CallsOption,
    GuardOption,
    JsonOption,
    KindsOption,
    LimitOption,
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
    from backtalk.learn import Method
    from backtalk.learn.online.loop import OnlineConfig, OnlineResult
    from backtalk.policy import Policy
    from backtalk.run import Run
    from backtalk.store import Store


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
    rounds: Annotated[
        int,
        typer.Option(min=0, help="Learn online: answer, be judged, learn, so many times over."),
    ] = 0,
    judge: Annotated[
        str | None, typer.Option(help="Who judges the answers of rounds, and the rounds.")
    ] = None,
    people: Annotated[
        bool, typer.Option("--people", help="Rounds wait for what people say of the answers.")
    ] = False,
    ask: Annotated[int, typer.Option(min=1, help="How many prompts a round answers.")] = 200,
    samples: Annotated[int, typer.Option(min=2, help="How many answers each gets.")] = 4,
    pairs: Annotated[
        str | None,
        typer.Option(help="Which answers are compared: best-worst, two, all, mutual, ..."),
    ] = None,
    sampling: Annotated[
        str | None, typer.Option(help="Who draws them: policy, first, mixture, average, pilaf.")
    ] = None,
    mixing: Annotated[
        float, typer.Option(min=0, max=1, help="How much the first policy counts in a mixture.")
    ] = 0.125,
    teacher: Annotated[
        str | None, typer.Option(help="A policy that gives each prompt one more answer.")
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Learn again and again, as feedback comes in.")
    ] = False,
    every: Annotated[
        int, typer.Option(min=1, help="Begin when so much new feedback is there (--watch).")
    ] = 100,
    interval: Annotated[
        float | None,
        typer.Option(min=0, help="Begin when some has waited so many seconds (--watch)."),
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Do what is due and end (--watch).")] = False,
    promote: Annotated[
        bool, typer.Option("--promote", help="Serve what passes the gate (--watch).")
    ] = False,
    experiment: Annotated[
        str | None,
        typer.Option(
            help="Let users decide: the feedback that counts, as `backtalk experiment` has it "
            "(--watch).",
            metavar="SIGNAL",
        ),
    ] = None,
    guard: GuardOption = None,
    limit: LimitOption = None,
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
    then promote it. With --watch, that is done for every new policy, in the background.

    Examples
    --------
    - `backtalk learn best-of-n --policy plain --name chooser -o n=16`
    - `backtalk learn best-of-n --policy plain --kind preference --kind ranking`
    - `backtalk learn dpo --policy plain --rounds 3 --judge true-utility`
    - `backtalk learn best-of-n --watch --every 200 --judge true-utility --promote`
    """
    import asyncio

    from backtalk.cli.background import keep_learning, refuse_without_watch, watch_of
    from backtalk.cli.context import (
        assignments,
        budget_of,
        opened,
        run_of,
        served_or_error,
        user_name,
    )
    from backtalk.cli.output import say_json
    from backtalk.errors import BacktalkError
    from backtalk.learn import TrainingSet, find_method
    from backtalk.learn.online.loop import OnlineConfig
    from backtalk.policy import diff, read_policy, save_policy
    from backtalk.promotion import Gate

    chosen = find_method(method)
    budget = budget_of(calls=max_calls, tokens=max_tokens, money=max_money, seconds=max_seconds)
    with opened(store, project) as db:
        parent = served_or_error(db) if policy is None else read_policy(db, policy)
        options: dict[str, Any] = dict(assignments(option))
        if watch:
            if rounds:
                raise BacktalkError(
                    "--watch learns from what comes in, --rounds from answers of its own",
                    "Give one of them",
                )
            keep_learning(
                db,
                watch_of(
                    method=method,
                    policy=policy,
                    options=options,
                    kinds=None if kind is None else tuple(kind),
                    split=split,
                    seed=seed,
                    name=name,
                    judge=judge,
                    guards=tuple(guard or ()),
                    limit=limit,
                    gate=Gate() if promote else None,
                    experiment=experiment,
                    actor=user_name(),
                ),
                every=every,
                interval=interval,
                once=once,
                budget=budget,
                prices=prices,
            )
            return
        refuse_without_watch(
            once=once,
            promote=promote,
            interval=interval,
            experiment=experiment,
            guard=guard or None,
            limit=limit,
        )
        about = (method, parent.id, *sorted(map(str, options.items())))
        if rounds:
            plan = OnlineConfig(
                rounds=rounds,
                prompts=ask,
                samples=samples,
                sampling=sampling,
                mixing=mixing,
                teacher=teacher,
            )
            pairs = pairs or chosen.rounds.pairs
            with run_of(
                db,
                *(*about, str(plan), str(judge), pairs, str(people)),
                seed=seed,
                budget=budget,
                prices=prices,
            ) as run:
                result = _online(
                    chosen, parent, db, run, plan, options,
                    judge=judge, pairs=pairs, people=people,
                )  # fmt: skip
            _say_rounds(result, parent, json=json)
            return
        with run_of(db, *about, seed=seed, budget=budget, prices=prices) as run:
            feedback = TrainingSet(db, split=split, kinds=kind)
            learned = asyncio.run(chosen.learn(parent, feedback, run, **options))
        if name is not None:
            learned = learned.named(name)
        save_policy(db, learned)
    changes = diff(parent, learned)
    if json:
        say_json({"id": learned.id, **learned.to_dict(), "changes": changes})
    else:
        _show(learned, parent, changes)


def _online(  # noqa: PLR0917 - what the command was given
    method: Method,
    policy: Policy,
    kept: Store,
    run: Run,
    plan: OnlineConfig,
    options: dict[str, Any],
    *,
    judge: str | None,
    pairs: str,
    people: bool,
) -> OnlineResult:
    import asyncio

    from backtalk.cli.context import prompts_of
    from backtalk.errors import BacktalkError
    from backtalk.evaluate.judges import get_judge
    from backtalk.evaluate.storage import save_evaluation
    from backtalk.learn.online.loop import (
        FeedbackSource,
        HumanFeedback,
        OnlineLearner,
        needs_scores,
    )
    from backtalk.learn.online.oracle_feedback import make_feedback_source

    reward = None if judge is None else get_judge(judge, kept)
    giver: FeedbackSource
    if people:
        giver = HumanFeedback(kept)
    elif reward is not None:
        giver = make_feedback_source(reward, pairs, rates=needs_scores(method))
    else:
        raise BacktalkError(
            "Rounds need somebody who says what is good",
            "Name a judge with --judge (`backtalk evaluate --help` lists them), or give --people",
        )
    online = OnlineLearner(
        method,
        kept,
        run,
        giver=giver,
        judge=reward,
        plan=plan,
        options=options,
    )
    asked = prompts_of(kept, split="train", file=None, limit=None, seed=0)
    held_out = prompts_of(kept, split="held-out", file=None, limit=None, seed=0)
    result = asyncio.run(online.learn(policy, asked, held_out))
    for evaluation in result.evaluations:
        save_evaluation(kept, evaluation)
    return result


def _say_rounds(found: OnlineResult, first: Policy, *, json: bool) -> None:
    from itertools import zip_longest

    from backtalk.cli.output import note, number, percent, say, say_json, say_table

    if json:
        say_json(
            {
                "policies": [policy.id for policy in found.policies],
                "evaluations": [evaluation.to_dict() for evaluation in found.evaluations],
                "ended": found.ended,
                "best": None if found.best is None else found.best.id,
            }
        )
        return
    say_table(
        ("round", "policy", "wins over the one before", "value"),
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
                zip_longest(found.policies, found.evaluations), 1
            )
        ],
    )
    say(f"Ended: {found.ended}.")
    if found.best is not None:
        note(f"Next: backtalk evaluate {found.best.id[:8]} --against {first.label}")


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
