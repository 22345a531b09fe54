"""``backtalk keys``: who may use the gateway."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from backtalk.cli.options import PROJECT, STORE, JsonOption, ProjectOption, StoreOption, WhoOption

if TYPE_CHECKING:
    from backtalk.store.api_keys import ApiKey

commands = typer.Typer(no_args_is_help=True, help="Make, rotate and revoke keys of the gateway.")

KeyArgument = Annotated[str, typer.Argument(help="A key, by name or id.")]


def add_to(app: typer.Typer) -> None:
    """Add the group of commands."""
    app.add_typer(commands, name="keys")


@commands.command("add")
def add(
    name: Annotated[str, typer.Argument(help="Whose it is: an application, or a person.")],
    *,
    role: Annotated[
        str, typer.Option(help="application, annotator, reviewer or admin.")
    ] = "application",
    all_projects: Annotated[
        bool, typer.Option("--all-projects", help="For every project, not only this one.")
    ] = False,
    actor: WhoOption = "",
    store: StoreOption = STORE,
    project: ProjectOption = PROJECT,
    json: JsonOption = False,
) -> None:
    """Make a key and print it. It is not kept, only a digest of it is: it is shown this once.

    An application asks for answers and gives feedback; an annotator gives feedback only, and so
    does a reviewer, who may also read the metrics and the audit log; an admin may do everything.

    Examples
    --------
    - `backtalk keys add shop --project mail`
    - `backtalk keys add ada --role admin --all-projects`
    """
    from backtalk.cli.context import opened, user_name
    from backtalk.store.api_keys import ApiKeys

    with opened(store, project, make=True) as db:
        key, secret = ApiKeys(db.engine).add(
            name, role, project=None if all_projects else project, actor=actor or user_name()
        )
    _say_secret(key, secret, json=json)


@commands.command("list")
def list_(*, store: StoreOption = STORE, json: JsonOption = False) -> None:
    """List all keys, revoked ones too.

    Examples
    --------
    - `backtalk keys list`
    """
    from backtalk.cli.context import opened
    from backtalk.cli.output import say_json, say_table
    from backtalk.store.api_keys import ApiKeys

    with opened(store, PROJECT) as db:
        keys = ApiKeys(db.engine).keys()
    if json:
        say_json([_told(key) for key in keys])
        return
    say_table(
        ("key", "id", "role", "project", "made", ""),
        [
            (
                key.name,
                key.id,
                key.role,
                key.project or "all",
                f"{key.made:%Y-%m-%d %H:%M}",
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
        float, typer.Option(min=0, help="For so many hours the old secret holds too.")
    ] = 24.0,
    actor: WhoOption = "",
    store: StoreOption = STORE,
    json: JsonOption = False,
) -> None:
    """Give a key a new secret, and print it this once.

    Examples
    --------
    - `backtalk keys rotate shop --grace 1`
    """
    from datetime import timedelta

    from backtalk.cli.context import opened, user_name
    from backtalk.store.api_keys import ApiKeys

    with opened(store, PROJECT) as db:
        result, secret = ApiKeys(db.engine).rotate(
            key, grace=timedelta(hours=grace), actor=actor or user_name()
        )
    _say_secret(result, secret, json=json)


@commands.command("revoke")
def revoke(
    key: KeyArgument, *, actor: WhoOption = "", store: StoreOption = STORE, json: JsonOption = False
) -> None:
    """End a key: a gateway that runs takes note within seconds.

    Examples
    --------
    - `backtalk keys revoke shop`
    """
    from backtalk.cli.context import opened, user_name
    from backtalk.cli.output import say, say_json
    from backtalk.store.api_keys import ApiKeys

    with opened(store, PROJECT) as db:
        result = ApiKeys(db.engine).revoke(key, actor=actor or user_name())
    if json:
        say_json(_told(result))
    else:
        say(f"{result.name} ({result.id}) is revoked")


def _say_secret(key: ApiKey, secret: str, *, json: bool) -> None:
    from backtalk.cli.output import note, say, say_json

    if json:
        say_json({**_told(key), "secret": secret})
        return
    note(f"The key of {key.name} ({key.id}), {key.role} for {key.project or 'all projects'}:")
    say(secret)


def _told(key: ApiKey) -> dict[str, Any]:
    return {
        "id": key.id,
        "name": key.name,
        "role": key.role,
        "project": key.project,
        "made": key.made.isoformat(),
        "revoked": None if key.revoked is None else key.revoked.isoformat(),
    }
