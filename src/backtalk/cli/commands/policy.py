"""``backtalk policy``: write, read and compare policies."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from backtalk.cli.options import PROJECT, STORE, JsonOption, ProjectOption, StoreOption

commands = typer.Typer(no_args_is_help=True, help="Add, show and compare policies.")

NameOption = Annotated[str | None, typer.Option(help="What to call it.")]


def add_to(app: typer.Typer) -> None:
    """Add the group of commands."""
    app.add_typer(commands, name="policy")


@commands.command("add")
def add(
    file: Annotated[Path, typer.Argument(help="A policy in YAML or JSON.")],
    *,
    name: NameOption = None,
    store: StoreOption = STORE,
    project: ProjectOption = PROJECT,
    json: JsonOption = False,
) -> None:
    """Add a policy from a file.

    Examples
    --------
    - `backtalk policy add plain.yaml --name plain`
    """
    from backtalk.cli.context import opened
    from backtalk.cli.output import say, say_json
    from backtalk.errors import NotFound
    from backtalk.policy import Policy, save_policy

    if not file.is_file():
        raise NotFound(f"There is no file {file}", "docs/policies.md shows how to write one")
    policy = Policy.from_yaml(file.read_text(encoding="utf-8"))
    if name is not None:
        policy = policy.named(name)
    with opened(store, project, make=True) as db:
        save_policy(db, policy)
    if json:
        say_json({"id": policy.id, **policy.to_dict()})
    else:
        say(f"Added {policy.label} ({policy.id[:8]})")


@commands.command("show")
def show(
    policy: Annotated[str, typer.Argument(help="A policy, by name or id.")],
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
    before: Annotated[str, typer.Argument(help="A policy, by name or id.")],
    after: Annotated[str, typer.Argument(help="Another one.")],
    *,
    store: StoreOption = STORE,
    project: ProjectOption = PROJECT,
    json: JsonOption = False,
) -> None:
    """Say in words what differs between two policies.

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
    for change in changes or ["Nothing: they answer in the same way"]:
        say(change)


@commands.command("replay")
def replay(
    name: Annotated[str, typer.Argument(help="What to call the policy.")],
    *,
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model", "-m", help="Only this model's answers; may be given several times."
        ),
    ] = None,
    order: Annotated[
        Literal["recorded", "shuffled"],
        typer.Option(help="`shuffled` answers with any of the recorded answers to a prompt."),
    ] = "shuffled",
    store: StoreOption = STORE,
    project: ProjectOption = PROJECT,
    json: JsonOption = False,
) -> None:
    """Make a policy of the answers in the store: it answers their prompts, from what is recorded.

    With it, ways of choosing among answers can be learned and evaluated without a model. Answers
    of no known model are left out, unless their response's id is given as a model.

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
        known = Recordings.of(
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
