"""``backtalk experiment``: policies that prove themselves in traffic."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from backtalk.cli.options import PROJECT, STORE, JsonOption, ProjectOption, StoreOption, WhoOption

if TYPE_CHECKING:
    from backtalk.experiments import ArmSummary, Event, Summary
    from backtalk.store import Store

commands = typer.Typer(no_args_is_help=True, help="Let policies prove themselves in traffic.")

NameArgument = Annotated[str, typer.Argument(help="The experiment.")]
ArmOption = Annotated[str | None, typer.Option(help="A candidate, by name or id.")]


def add_to(app: typer.Typer) -> None:
    """Add the group of commands."""
    app.add_typer(commands, name="experiment")


@commands.command("start")
def start_command(
    name: Annotated[str, typer.Argument(help="What to call it.")],
    *,
    candidate: Annotated[
        list[str], typer.Option(help="A policy, by name or id; several may be given.")
    ],
    allocation: Annotated[
        Literal["fixed", "thompson", "dueling"],
        typer.Option(help="Fixed shares; more for what does better; or two answers to choose of."),
    ] = "fixed",
    share: Annotated[
        list[float] | None,
        typer.Option(help="Of each candidate, in their order; the control gets the rest."),
    ] = None,
    unit: Annotated[
        Literal["request", "session", "user"],
        typer.Option(help="What keeps its arm, and counts once. For fixed shares."),
    ] = "request",
    outcome: Annotated[
        str | None,
        typer.Option(
            help="The feedback that decides: thumb, rating, outcome or preference, with an aspect "
            "as in rating:tone. By default thumb, and preference for duels."
        ),
    ] = None,
    guard: Annotated[
        list[str] | None, typer.Option(help="Feedback that must not get worse, named likewise.")
    ] = None,
    floor: Annotated[
        float, typer.Option(min=0.001, max=0.5, help="The least share where shares adapt.")
    ] = 0.1,
    level: Annotated[
        float, typer.Option(min=0.5, max=0.9999, help="How sure to be, at all times together.")
    ] = 0.95,
    margin: Annotated[
        float, typer.Option(min=0, max=1, help="Stop what is worse by more than this.")
    ] = 0.0,
    at_least: Annotated[
        int, typer.Option(min=1, help="Decide nothing before so many judgements of an arm.")
    ] = 50,
    horizon: Annotated[
        int | None, typer.Option(min=1, help="End after so many judgements in all.")
    ] = None,
    promote: Annotated[
        bool, typer.Option(help="Promote a candidate that is shown to be better, at once.")
    ] = True,
    actor: WhoOption = "",
    store: StoreOption = STORE,
    project: ProjectOption = PROJECT,
    json: JsonOption = False,
) -> None:
    """Start an experiment: candidates answer part of what the project is asked.

    The control is what the project serves. A gateway takes note within seconds, divides the
    traffic, stops what is shown to be worse, and promotes what is shown to be better.

    Examples
    --------
    - `backtalk experiment start brief --candidate brief`
    - `backtalk experiment start tone --candidate a --candidate b --allocation thompson`
    """
    from pydantic import ValidationError

    from backtalk.cli.context import opened, served_or_error, user_name
    from backtalk.cli.output import say, say_json
    from backtalk.experiments import Experiment, start
    from backtalk.feedback.record import record_error
    from backtalk.policy import read_policy

    with opened(store, project) as db:
        candidates = [read_policy(db, one).id for one in candidate]
        fields: dict[str, Any] = {
            "name": name,
            "control": served_or_error(db).id,
            "candidates": candidates,
            "allocation": allocation,
            "shares": [1 - sum(share), *share] if share else (),
            "floor": floor,
            "unit": unit,
            "outcome": outcome or ("preference" if allocation == "dueling" else "thumb"),
            "guards": guard or (),
            "rule": {
                "level": level,
                "margin": margin,
                "at_least": at_least,
                "horizon": horizon,
                "promote": promote,
            },
        }
        try:
            experiment = Experiment.model_validate(fields)
        except ValidationError as error:
            raise record_error("the experiment", error) from None
        start(db, experiment, actor=actor or user_name())
    if json:
        say_json(experiment.to_dict())
    else:
        say(f"{name} runs: {len(candidates)} against what project {project!r} serves")


@commands.command("list")
def list_command(
    *, store: StoreOption = STORE, project: ProjectOption = PROJECT, json: JsonOption = False
) -> None:
    """List the experiments of a project, the oldest first.

    Examples
    --------
    - `backtalk experiment list`
    """
    from backtalk.cli.context import opened
    from backtalk.cli.output import say_json, say_table
    from backtalk.experiments import list_experiments, running_experiment

    with opened(store, project) as db:
        results = list_experiments(db)
        now = running_experiment(db)
    if json:
        say_json([{**one.to_dict(), "runs": one == now} for one in results])
        return
    say_table(
        ("experiment", "arms", "allocation", "decided by", ""),
        [
            (
                one.name,
                str(len(one.arms)),
                one.allocation,
                one.outcome,
                "runs" if one == now else "ended",
            )
            for one in results
        ],
        numbers=(1,),
    )


@commands.command("show")
def show(
    name: NameArgument,
    *,
    store: StoreOption = STORE,
    project: ProjectOption = PROJECT,
    json: JsonOption = False,
) -> None:
    """Show what an experiment has found. Look as often as you like: the intervals allow for it.

    Examples
    --------
    - `backtalk experiment show brief`
    """
    from backtalk.cli.context import opened
    from backtalk.experiments import ExperimentReader, summarise

    with opened(store, project) as db:
        state = ExperimentReader(db, name).refresh()
        _say_summary(db, summarise(state), state.events, json=json)


@commands.command("check")
def check(
    name: NameArgument,
    *,
    actor: WhoOption = "",
    store: StoreOption = STORE,
    project: ProjectOption = PROJECT,
    json: JsonOption = False,
) -> None:
    """Do what the experiment's rule says now, as a gateway does by itself every few seconds.

    Examples
    --------
    - `backtalk experiment check brief`
    """
    from backtalk.cli.context import opened, user_name
    from backtalk.cli.output import say, say_json
    from backtalk.experiments import ExperimentReader, step

    with opened(store, project) as db:
        done = step(db, ExperimentReader(db, name), actor=actor or user_name())
        told = [_told(db, event) for event in done]
    if json:
        say_json([event.what.to_dict() for event in done])
    else:
        say("\n".join(told) if told else "Nothing is to be done.")


@commands.command("stop")
def stop_command(
    name: NameArgument,
    *,
    arm: ArmOption = None,
    actor: WhoOption = "",
    store: StoreOption = STORE,
    project: ProjectOption = PROJECT,
    json: JsonOption = False,
) -> None:
    """End an experiment, or take a candidate out of it. What is served stays.

    Examples
    --------
    - `backtalk experiment stop brief`
    - `backtalk experiment stop tone --arm b`
    """
    from backtalk.cli.context import opened, user_name
    from backtalk.experiments import stop
    from backtalk.policy import read_policy

    with opened(store, project) as db:
        chosen = None if arm is None else read_policy(db, arm).id
        event = stop(db, name, arm=chosen, actor=actor or user_name())
        _say_event(db, event, json=json)


@commands.command("promote")
def promote_command(
    name: NameArgument,
    *,
    arm: ArmOption = None,
    actor: WhoOption = "",
    store: StoreOption = STORE,
    project: ProjectOption = PROJECT,
    json: JsonOption = False,
) -> None:
    """Serve a candidate from now on, if what the traffic showed passes the gate.

    A refusal says why, and exits with code 4. `backtalk rollback` undoes a promotion.

    Examples
    --------
    - `backtalk experiment promote brief`
    """
    from backtalk.cli.context import opened, user_name
    from backtalk.experiments import promote_arm
    from backtalk.policy import read_policy

    with opened(store, project) as db:
        chosen = None if arm is None else read_policy(db, arm).id
        event = promote_arm(db, name, arm=chosen, actor=actor or user_name())
        _say_event(db, event, json=json)


def _say_event(store: Store, event: Event, *, json: bool) -> None:
    from backtalk.cli.output import say, say_json

    if json:
        say_json(event.what.to_dict())
    else:
        say(_told(store, event))


def _told(store: Store, event: Event) -> str:
    """Return an event as a sentence."""
    from backtalk.experiments import Ended, Promoted, Stopped
    from backtalk.policy import read_policy

    what = event.what
    if isinstance(what, Stopped):
        return f"{read_policy(store, what.arm).label} gets no traffic any more: {what.reason}."
    if isinstance(what, Promoted):
        return f"{read_policy(store, what.arm).label} is served from now on."
    if isinstance(what, Ended):
        return f"{what.name} has ended: {what.reason}."
    return f"{event.name} runs."


def _say_summary(store: Store, summary: Summary, events: list[Event], *, json: bool) -> None:
    from backtalk.cli.output import number, percent, say, say_json, say_table
    from backtalk.policy import read_policy

    if json:
        happened = [{"time": e.time, "actor": e.actor, **e.what.to_dict()} for e in events]
        say_json({**summary.to_dict(), "events": happened})
        return
    experiment = summary.experiment
    say(
        f"{experiment.name}: {summary.status}; {summary.shown:,} answers, {summary.judged:,} "
        f"judged by {experiment.outcome}"
    )
    say_table(
        ("arm", "share", "answers", "judged", "mean", "minus control", ""),
        [
            (
                read_policy(store, arm.policy).label,
                f"{100 * arm.share:.0f} %",
                f"{arm.shown:,}",
                f"{arm.outcome.judged:,}",
                "" if arm.outcome.mean is None else percent(arm.outcome.mean),
                number(arm.outcome.difference, signed=True),
                _standing(arm),
            )
            for arm in summary.arms
        ],
        numbers=(1, 2, 3),
    )
    for arm in summary.candidates:
        for guard in arm.guards:
            shown = number(guard.difference, signed=True) or "not judged yet"
            say(f"{read_policy(store, arm.policy).label}, {guard.signal}: {shown}")
    for event in events:
        say(f"{event.time:%Y-%m-%d %H:%M} {event.actor}: {_told(store, event)}")


def _standing(arm: ArmSummary) -> str:
    return arm.stopped or {"open": "not shown yet"}.get(arm.verdict, arm.verdict)
