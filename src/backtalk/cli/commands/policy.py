"""``backtalk policy``: add, list, show and compare policies, and estimate their value."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from backtalk.cli.commands.policy_export import export_policy_command
from backtalk.cli.options import (
    PROJECT,
    STORE,
    JsonOption,
    PolicyNameOption,
    ProjectOption,
    SeedOption,
    StoreOption,
)

if TYPE_CHECKING:
    from backtalk.experiments.off_policy import PolicyValue

_ESTIMATORS = {"ips": "inverse propensity", "snips": "self-normalised", "dr": "doubly robust"}

commands = typer.Typer(no_args_is_help=True, help="Policies: recipes for answering.")
commands.command("export")(export_policy_command)


def add_to(app: typer.Typer, panel: str) -> None:
    """Add the group of commands to a help panel."""
    app.add_typer(commands, name="policy", rich_help_panel=panel)


@commands.command("add")
def add(
    file: Annotated[Path, typer.Argument(help="Policy in YAML or JSON.")],
    *,
    name: PolicyNameOption = None,
    store: StoreOption = STORE,
    project: ProjectOption = PROJECT,
    json: JsonOption = False,
) -> None:
    """Add a policy from a file.

    Examples
    --------
    - `backtalk policy add plain.yaml --name plain`
    """
    from backtalk.cli.context import note_next_steps, opened
    from backtalk.cli.output import say, say_json
    from backtalk.cli.policy_names import note_other_name
    from backtalk.errors import NotFound
    from backtalk.policy import Policy, check_memory, saved_policy

    if not file.is_file():
        raise NotFound(f"There is no file {file}", "docs/policies.md shows the format of a policy")
    policy = Policy.from_yaml(file.read_text(encoding="utf-8"))
    if name is not None:
        policy = policy.named(name)
    with opened(store, project, create=True) as db:
        check_memory(db, policy)
        saved = saved_policy(db, policy)
        if json:
            say_json({"id": saved.id, **saved.to_dict()})
            return
        say(f"Added {saved.label} ({saved.id[:8]})")
        note_other_name(policy, saved)
        note_next_steps(db, store, project)


@commands.command("list")
def list_(
    *, store: StoreOption = STORE, project: ProjectOption = PROJECT, json: JsonOption = False
) -> None:
    """List the policies of a project, oldest first.

    Examples
    --------
    - `backtalk policy list`
    """
    from backtalk.cli.commands.status import show_policies
    from backtalk.cli.context import opened
    from backtalk.cli.output import say, say_json
    from backtalk.policy import list_policies
    from backtalk.promotion import active_policy

    with opened(store, project) as db:
        policies = list_policies(db)
        active = active_policy(db)
    if json:
        say_json([{"id": policy.id, **policy.to_dict()} for policy in policies])
    elif policies:
        show_policies(policies, active)
    else:
        say("There are no policies; `backtalk policy add FILE` adds one.")


@commands.command("show")
def show(
    policy: Annotated[str, typer.Argument(help="Policy, by name or id.")],
    *,
    store: StoreOption = STORE,
    project: ProjectOption = PROJECT,
    json: JsonOption = False,
) -> None:
    """Print a policy as YAML, with its lineage.

    Examples
    --------
    - `backtalk policy show chooser`
    """
    from backtalk.cli.context import opened
    from backtalk.cli.output import say, say_json
    from backtalk.policy import read_policy

    with opened(store, project) as db:
        result = read_policy(db, policy)
    if json:
        say_json({"id": result.id, **result.to_dict()})
    else:
        say(result.to_yaml().rstrip())


@commands.command("diff")
def diff_command(
    before: Annotated[str, typer.Argument(help="Policy, by name or id.")],
    after: Annotated[str, typer.Argument(help="Policy to compare with it, by name or id.")],
    *,
    store: StoreOption = STORE,
    project: ProjectOption = PROJECT,
    json: JsonOption = False,
) -> None:
    """List the differences between two policies.

    Examples
    --------
    - `backtalk policy diff plain chooser`
    """
    from backtalk.cli.context import opened
    from backtalk.cli.output import say, say_json
    from backtalk.policy import diff, read_policy

    with opened(store, project) as db:
        changes = diff(read_policy(db, before), read_policy(db, after))
    if json:
        say_json(changes)
        return
    for change in changes or ["No difference: they answer in the same way"]:
        say(change)


@commands.command("replay")
def replay(
    name: Annotated[str, typer.Argument(help="Name for the policy.")],
    *,
    model: Annotated[
        list[str] | None,
        typer.Option("--model", "-m", help="Replay only answers of this model. Repeatable."),
    ] = None,
    order: Annotated[
        Literal["recorded", "shuffled"],
        typer.Option(help="Order of the recorded answers to a prompt."),
    ] = "shuffled",
    store: StoreOption = STORE,
    project: ProjectOption = PROJECT,
    json: JsonOption = False,
) -> None:
    """Make a policy that replays the recorded answers in the store.

    With it, methods that choose among answers can be learned and evaluated without a model.
    Answers without a model's name are left out, unless --model names their response's id.

    Examples
    --------
    - `backtalk policy replay anyone`
    - `backtalk policy replay claude -m claude-2.1`
    """
    from backtalk.cli.context import opened
    from backtalk.cli.output import say, say_json
    from backtalk.models.replay.recordings import Recordings
    from backtalk.models.spec import ReplaySpec
    from backtalk.policy import Policy, save_policy

    with opened(store, project) as db:
        known = Recordings.from_interactions(
            case.interaction.model_copy(
                update={
                    "responses": tuple(
                        response
                        if response.model
                        else response.model_copy(update={"model": response.id})
                        for response in case.interaction.responses
                        if response.model or response.id in (model or [])
                    )
                }
            )
            for case in db.cases()
        )
        artifact = db.artifacts.put(known.to_files())
        spec = ReplaySpec(artifact=artifact, models=tuple(model or ()), order=order)
        policy = Policy(model=spec, name=name)
        spec.load(db.artifacts)
        save_policy(db, policy)
    if json:
        say_json({"id": policy.id, **policy.to_dict(), "models": list(known.models)})
    else:
        say(f"Added {name} ({policy.id[:8]}), a replay of {len(known.models)} models")


@commands.command("estimate")
def estimate(
    policy: Annotated[str, typer.Argument(help="Policy, by name or id.")],
    *,
    outcome: Annotated[
        str, typer.Option(help="Feedback signal to estimate: thumb, rating or outcome.")
    ] = "thumb",
    clip: Annotated[
        float | None,
        typer.Option(
            min=0.001, help="Clip importance weights at this value; the number clipped is reported."
        ),
    ] = None,
    level: Annotated[
        float, typer.Option(min=0.5, max=0.9999, help="Confidence level of the intervals.")
    ] = 0.95,
    seed: SeedOption = 0,
    store: StoreOption = STORE,
    project: ProjectOption = PROJECT,
    json: JsonOption = False,
) -> None:
    """Estimate the value of a policy from feedback on the answers of others (off-policy).

    The policy generates nothing. Its probability of giving the logged answers must be known:
    because it was an arm of an experiment, because it chooses among logged candidates, or because
    a local model scores them.

    Examples
    --------
    - `backtalk policy estimate brief`
    - `backtalk policy estimate brief --outcome rating --clip 20`
    """
    from backtalk.cli.context import load, open_run, opened
    from backtalk.cli.output import say_json
    from backtalk.experiments.off_policy import estimate_policy
    from backtalk.models import default_address
    from backtalk.policy import read_policy

    # Nothing is sent to endpoints, which cannot score: they need no address of their own.
    with opened(store, project) as db, default_address("http://none.invalid/v1"):
        chosen = read_policy(db, policy)
        with open_run(db, "estimate", chosen.id, outcome, seed=seed) as run:
            result = estimate_policy(
                db,
                chosen,
                outcome=outcome,
                load=lambda: load(db, chosen, run),
                clip=clip,
                level=level,
                seed=seed,
            )
    if json:
        from dataclasses import asdict

        say_json(asdict(result))
    else:
        _show_estimate(chosen.label, result)


def _show_estimate(label: str, result: PolicyValue) -> None:
    from backtalk.cli.output import note, percent, say, say_table

    say(f"{label}, by {result.basis}, on {result.logged.n:,} judged answers:")
    say_table(
        ("estimator", "value", "effective sample size", "largest weight"),
        [
            ("logged policies", percent(result.logged), f"{result.logged.n:,}", ""),
            *(
                (
                    _ESTIMATORS[one.estimator],
                    percent(one.estimate),
                    f"{one.effective_sample_size:,.0f}",
                    f"{one.largest_weight:.3g}",
                )
                for one in result.estimates
            ),
        ],
        numbers=(2, 3),
    )
    for warning in dict.fromkeys(text for one in result.estimates for text in one.warnings):
        note(f"{warning}.")
