"""``backtalk experiment``: A/B tests, bandits and duels between policies in live traffic."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from backtalk.cli.options import PROJECT, STORE, ActorOption, JsonOption, ProjectOption, StoreOption

if TYPE_CHECKING:
    from backtalk.experiments import ArmSummary, ExperimentEvent, ExperimentSummary
    from backtalk.store import Store

commands = typer.Typer(no_args_is_help=True, help="Experiments with policies in live traffic.")

NameArgument = Annotated[str, typer.Argument(help="Experiment, by name.")]
ArmOption = Annotated[str | None, typer.Option(help="Candidate policy, by name or id.")]


def add_to(app: typer.Typer, panel: str) -> None:
    """Add the group of commands to a help panel."""
    app.add_typer(commands, name="experiment", rich_help_panel=panel)


@commands.command("start")
def start_command(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Name for the experiment.")],
    *,
    candidate: Annotated[
        list[str], typer.Option(help="Candidate policy, by name or id. Repeatable.")
    ],
    allocation: Annotated[
        Literal["fixed", "thompson", "dueling"],
        typer.Option(help="Fixed shares, Thompson sampling, or duels between two answers."),
    ] = "fixed",
    share: Annotated[
        list[float] | None,
        typer.Option(
            help="Traffic share of each candidate, in order; the control gets the rest. Only for "
            "fixed allocation."
        ),
    ] = None,
    unit: Annotated[
        Literal["request", "session", "user"],
        typer.Option(help="Unit of randomisation. Only for fixed allocation."),
    ] = "request",
    outcome: Annotated[
        str | None,
        typer.Option(
            help="Feedback signal that decides: thumb, rating, outcome or preference, with an "
            "aspect as in rating:tone. Default: thumb, or preference for duels."
        ),
    ] = None,
    guard: Annotated[
        list[str] | None,
        typer.Option(help="Guardrail signal, which must not get worse. Repeatable."),
    ] = None,
    floor: Annotated[
        float,
        typer.Option(min=0.001, max=0.5, help="Minimum share of an arm, for adaptive allocation."),
    ] = 0.1,
    level: Annotated[
        float,
        typer.Option(
            min=0.5, max=0.9999, help="Confidence level, valid at all times simultaneously."
        ),
    ] = 0.95,
    margin: Annotated[
        float,
        typer.Option(min=0, max=1, help="Stop a candidate shown to be worse by more than this."),
    ] = 0.0,
    at_least: Annotated[
        int, typer.Option(min=1, help="Number of judgements of an arm before any decision.")
    ] = 50,
    horizon: Annotated[
        int | None, typer.Option(min=1, help="End the experiment after this many judgements.")
    ] = None,
    promote: Annotated[
        bool, typer.Option(help="Promote a candidate as soon as it is shown to be better.")
    ] = True,
    actor: ActorOption = "",
    store: StoreOption = STORE,
    project: ProjectOption = PROJECT,
    json: JsonOption = False,
) -> None:
    """Start an experiment: candidates answer part of the project's traffic.

    The control is the active policy. A running gateway notices within seconds, routes the
    traffic, stops candidates shown to be worse, and promotes one shown to be better.

    Examples
    --------
    - `backtalk experiment start brief --candidate brief`
    - `backtalk experiment start tone --candidate a --candidate b --allocation thompson`
    """
    from pydantic import ValidationError

    from backtalk.api import find_policy
    from backtalk.cli.context import opened, refuse_options, user_name
    from backtalk.cli.output import say, say_json
    from backtalk.experiments import Experiment, start
    from backtalk.feedback.record import record_error
    from backtalk.policy import read_policy

    if allocation != "fixed":
        because = f"{allocation} allocation sets the shares itself, for each request"
        refuse_options(context, "share", "unit", because=because)
    else:
        refuse_options(context, "floor", because="the shares of fixed allocation do not adapt")
    with opened(store, project) as db:
        candidates = [read_policy(db, one).id for one in candidate]
        fields: dict[str, Any] = {
            "name": name,
            "control": find_policy(None, db).id,
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
                "min_judgements": at_least,
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
        say(f"{name} runs: {len(candidates)} candidates against the active policy of {project!r}")


@commands.command("list")
def list_command(
    *, store: StoreOption = STORE, project: ProjectOption = PROJECT, json: JsonOption = False
) -> None:
    """List the experiments of a project, oldest first.

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
        ("experiment", "arms", "allocation", "signal", ""),
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
    """Show the results of an experiment. Its intervals hold however often you look.

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
    actor: ActorOption = "",
    store: StoreOption = STORE,
    project: ProjectOption = PROJECT,
    json: JsonOption = False,
) -> None:
    """Apply the experiment's decision rule now, as a gateway does every few seconds.

    Examples
    --------
    - `backtalk experiment check brief`
    """
    from backtalk.cli.context import opened, user_name
    from backtalk.cli.output import say, say_json
    from backtalk.experiments import ExperimentReader, apply_rules

    with opened(store, project) as db:
        done = apply_rules(db, ExperimentReader(db, name), actor=actor or user_name())
        lines = [_describe(db, event) for event in done]
    if json:
        say_json([event.what.to_dict() for event in done])
    else:
        say("\n".join(lines) if lines else "Nothing to do.")


@commands.command("stop")
def stop_command(
    name: NameArgument,
    *,
    arm: ArmOption = None,
    actor: ActorOption = "",
    store: StoreOption = STORE,
    project: ProjectOption = PROJECT,
    json: JsonOption = False,
) -> None:
    """End an experiment, or remove a candidate from it. The active policy stays.

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
    actor: ActorOption = "",
    store: StoreOption = STORE,
    project: ProjectOption = PROJECT,
    json: JsonOption = False,
) -> None:
    """Promote a candidate, if the evidence from traffic passes the gate.

    A refusal states its reasons and exits with code 4. `backtalk rollback` undoes a promotion.

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


def _say_event(store: Store, event: ExperimentEvent, *, json: bool) -> None:
    from backtalk.cli.output import say, say_json

    if json:
        say_json(event.what.to_dict())
    else:
        say(_describe(store, event))


def _describe(store: Store, event: ExperimentEvent) -> str:
    """Return an event as a sentence."""
    from backtalk.experiments import ArmPromoted, ArmStopped, ExperimentEnded
    from backtalk.policy import read_policy

    what = event.what
    if isinstance(what, ArmStopped):
        return f"{read_policy(store, what.arm).label} no longer gets traffic: {what.reason}."
    if isinstance(what, ArmPromoted):
        return f"{read_policy(store, what.arm).label} is the active policy now."
    if isinstance(what, ExperimentEnded):
        return f"{what.name} has ended: {what.reason}."
    return f"{event.name} runs."


def _say_summary(
    store: Store, summary: ExperimentSummary, events: list[ExperimentEvent], *, json: bool
) -> None:
    from backtalk.cli.output import number, percent, say, say_json, say_table
    from backtalk.policy import read_policy

    if json:
        happened = [{"time": e.time, "actor": e.actor, **e.what.to_dict()} for e in events]
        say_json({**summary.to_dict(), "events": happened})
        return
    experiment = summary.experiment
    say(
        f"{experiment.name}: {summary.status}; {summary.impressions:,} answers, {summary.judged:,} "
        f"judged by {experiment.outcome}"
    )
    say_table(
        ("arm", "share", "answers", "judged", "mean", "difference from control", ""),
        [
            (
                read_policy(store, arm.policy).label,
                f"{100 * arm.share:.0f} %",
                f"{arm.impressions:,}",
                f"{arm.outcome.judged:,}",
                "" if arm.outcome.mean is None else percent(arm.outcome.mean),
                number(arm.outcome.difference, signed=True),
                _verdict(arm),
            )
            for arm in summary.arms
        ],
        numbers=(1, 2, 3),
    )
    for arm in summary.candidates:
        for guard in arm.guards:
            shown = number(guard.difference, signed=True) or "no judgements yet"
            say(f"{read_policy(store, arm.policy).label}, {guard.signal}: {shown}")
    for event in events:
        say(f"{event.time:%Y-%m-%d %H:%M} {event.actor}: {_describe(store, event)}")


def _verdict(arm: ArmSummary) -> str:
    return arm.stopped or {"open": "undecided"}.get(arm.verdict, arm.verdict)
