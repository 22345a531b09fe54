"""``backtalk key``: API keys of the gateway."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from backtalk.cli.options import PROJECT, STORE, ActorOption, JsonOption, ProjectOption, StoreOption

if TYPE_CHECKING:
    from backtalk.store.api_keys import ApiKey

commands = typer.Typer(no_args_is_help=True, help="API keys of the gateway.")

KeyArgument = Annotated[str, typer.Argument(help="Key, by name or id.")]


def add_to(app: typer.Typer, panel: str) -> None:
    """Add the group of commands to a help panel."""
    app.add_typer(commands, name="key", rich_help_panel=panel)


@commands.command("add")
def add(
    context: typer.Context,
    name: Annotated[
        str, typer.Argument(help="Name of the key: the application or person that uses it.")
    ],
    *,
    role: Annotated[
        str, typer.Option(help="Role: application, annotator, reviewer or admin.")
    ] = "application",
    all_projects: Annotated[
        bool, typer.Option("--all-projects", help="Valid for every project.")
    ] = False,
    actor: ActorOption = "",
    store: StoreOption = STORE,
    project: ProjectOption = PROJECT,
    json: JsonOption = False,
) -> None:
    """Create a key and print it, once: the store keeps only a digest.

    An application requests answers and gives feedback; an annotator gives feedback; a reviewer
    gives feedback and reads metrics and the audit log; an admin may do everything.

    Examples
    --------
    - `backtalk key add shop --project mail`
    - `backtalk key add ada --role admin --all-projects`
    """
    from backtalk.cli.context import is_set, opened, user_name
    from backtalk.errors import BacktalkError

    if all_projects and is_set(context, "project"):
        raise BacktalkError("--project has no effect with --all-projects", "Give one of them")
    with opened(store, project, create=True) as db:
        key, secret = db.api_keys.add(
            name, role, project=None if all_projects else project, actor=actor or user_name()
        )
    _say_secret(key, secret, json=json)


@commands.command("list")
def list_(*, store: StoreOption = STORE, json: JsonOption = False) -> None:
    """List all keys, revoked ones included.

    Examples
    --------
    - `backtalk key list`
    """
    from backtalk.cli.context import opened
    from backtalk.cli.output import say_json, say_table

    with opened(store, PROJECT) as db:
        keys = db.api_keys.keys()
    if json:
        say_json([_to_dict(key) for key in keys])
        return
    say_table(
        ("key", "id", "role", "project", "created", ""),
        [
            (
                key.name,
                key.id,
                key.role,
                key.project or "all",
                f"{key.created:%Y-%m-%d %H:%M}",
                "revoked" if key.revoked else "",
            )
            for key in keys
        ],
    )


@commands.command("rotate")
def rotate(
    key: KeyArgument,
    *,
    grace: Annotated[
        float, typer.Option(min=0, help="Hours during which the old secret stays valid.")
    ] = 24.0,
    actor: ActorOption = "",
    store: StoreOption = STORE,
    json: JsonOption = False,
) -> None:
    """Replace the secret of a key, and print the new one, once.

    Examples
    --------
    - `backtalk key rotate shop --grace 1`
    """
    from datetime import timedelta

    from backtalk.cli.context import opened, user_name

    with opened(store, PROJECT) as db:
        result, secret = db.api_keys.rotate(
            key, grace=timedelta(hours=grace), actor=actor or user_name()
        )
    _say_secret(result, secret, json=json)


@commands.command("revoke")
def revoke(
    key: KeyArgument,
    *,
    actor: ActorOption = "",
    store: StoreOption = STORE,
    json: JsonOption = False,
) -> None:
    """Revoke a key. A running gateway rejects it within seconds.

    Examples
    --------
    - `backtalk key revoke shop`
    """
    from backtalk.cli.context import opened, user_name
    from backtalk.cli.output import say, say_json

    with opened(store, PROJECT) as db:
        result = db.api_keys.revoke(key, actor=actor or user_name())
    if json:
        say_json(_to_dict(result))
    else:
        say(f"{result.name} ({result.id}) is revoked")


def _say_secret(key: ApiKey, secret: str, *, json: bool) -> None:
    from backtalk.cli.output import note, say, say_json

    if json:
        say_json({**_to_dict(key), "secret": secret})
        return
    note(f"The key of {key.name} ({key.id}), {key.role} for {key.project or 'all projects'}:")
    say(secret)


def _to_dict(key: ApiKey) -> dict[str, Any]:
    return {
        "id": key.id,
        "name": key.name,
        "role": key.role,
        "project": key.project,
        "created": key.created.isoformat(),
        "revoked": None if key.revoked is None else key.revoked.isoformat(),
    }
