"""``backtalk serve``: run the gateway."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from backtalk.cli.options import STORE

if TYPE_CHECKING:
    from backtalk.serve.settings import Settings


def add_to(app: typer.Typer, panel: str) -> None:
    """Add the command to a help panel."""
    app.command("serve", rich_help_panel=panel)(serve)


def serve(
    *,
    upstream: Annotated[
        list[str] | None,
        typer.Option(
            "--upstream",
            "-u",
            help="Base URL of an OpenAI-compatible server, with /v1. Repeatable: the next one is "
            "the fallback of the one before.",
        ),
    ] = None,
    key_env: Annotated[
        list[str] | None,
        typer.Option(help="Environment variable with the upstream's API key; one per upstream."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            help="Model on this machine that answers under its name: a fetched one such as "
            "smollm2, a folder, or a name on the Hugging Face hub.",
        ),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen on; 0 for any free one.")
    ] = 8080,
    workers: Annotated[int, typer.Option(min=1, help="Number of worker processes.")] = 1,
    open_: Annotated[
        bool, typer.Option("--open", help="Accept requests without an API key.")
    ] = False,
    origin: Annotated[
        list[str] | None,
        typer.Option(
            help="Origin allowed to send feedback from a browser, such as https://example.org. "
            "Repeatable."
        ),
    ] = None,
    redact: Annotated[
        list[str] | None,
        typer.Option(
            help="Redact before storing: email, phone, card or package.module:function. Repeatable."
        ),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="YAML file with these and all other settings.")
    ] = None,
    store: Annotated[
        str | None,
        typer.Option(
            "--store", "-s", envvar="BACKTALK_STORE", help="SQLite file, or database URL."
        ),
    ] = None,
    project: Annotated[
        str | None,
        typer.Option(
            "--project",
            "-p",
            envvar="BACKTALK_PROJECT",
            help="Project for requests that name none.",
        ),
    ] = None,
) -> None:
    """Serve an OpenAI-compatible gateway that stores every answer and accepts feedback on it.

    The model `backtalk:PROJECT` is the active policy of a project, `backtalk:PROJECT/POLICY` a
    policy by name; every other model is the upstream's. With --model, a model on this machine
    answers, so that no upstream is needed: it becomes a policy of the project, and the one that
    `backtalk:PROJECT` names until another is promoted. `POST /v1/feedback` accepts feedback on
    an answer by its id. Clients authenticate with a key made by `backtalk key add`; on the
    loopback address none is needed until the store has a key.

    Examples
    --------
    - `backtalk serve --upstream http://localhost:8000/v1`
    - `backtalk serve --model smollm2`
    - `backtalk serve -u https://api.openai.com/v1 --key-env OPENAI_API_KEY --host 0.0.0.0`
    - `backtalk serve --config serve.yaml --workers 4`
    """
    from backtalk.errors import BacktalkError, MissingExtra

    try:
        from backtalk.serve.server import (
            check_settings,
            has_keys,
            is_loopback,
            read_settings,
            run,
        )
    except ModuleNotFoundError as error:
        raise MissingExtra.named("serve", "The gateway") from error

    names = key_env or []
    if len(names) > len(upstream or []):
        raise BacktalkError(
            f"There are {len(names)} --key-env for {len(upstream or [])} --upstream options",
            "Give an --upstream for each, in the same order",
        )
    upstreams = [
        {"base_url": url, "api_key_env": names[i] if i < len(names) else None}
        for i, url in enumerate(upstream or [])
    ]
    keys = "never" if open_ else "if-any" if is_loopback(host) else None
    settings = read_settings(
        config,
        upstreams=upstreams or None,
        keys=keys,
        origins=origin or None,
        redact=redact or None,
        store=store or (STORE if config is None else None),
        project=project,
    )
    check_settings(settings, host=host, port=port)
    if model is not None:
        settings = _serve_model(settings, model)
    needs_key = settings.keys == "always" or (settings.keys == "if-any" and has_keys(settings))
    run(
        settings,
        host=host,
        port=port,
        workers=workers,
        on_ready=lambda address: _say_addresses(address, settings.store, needs_key=needs_key),
    )


def _serve_model(settings: Settings, model: str) -> Settings:
    """Save a local model as a policy, and return settings that serve it under its name."""
    from pathlib import Path

    from backtalk.cli.context import opened, user_name
    from backtalk.cli.output import note
    from backtalk.models import LocalModel
    from backtalk.models.run_sync import run_sync
    from backtalk.models.spec import LocalSpec
    from backtalk.policy import Policy, save_policy
    from backtalk.promotion import active_policy, promote

    folder = Path(model)
    spec = LocalSpec(model=str(folder.resolve()) if folder.is_dir() else model)
    policy = Policy(model=spec, name=folder.name)
    run_sync(LocalModel(str(spec.model)).check())
    with opened(settings.store, settings.project, create=True) as db:
        save_policy(db, policy)
        if active_policy(db) is None:
            promote(db, policy, actor=user_name())
    note(f"The model {policy.label} answers on this machine.")
    return settings.model_copy(update={"policies": (*settings.policies, policy.label)})


def _say_addresses(address: str, store: str, *, needs_key: bool) -> None:
    from backtalk.cli.output import note
    from backtalk.store.engine import database_url

    location = database_url(store).render_as_string(hide_password=True) if "://" in store else store
    note(f"Serving {location}; Ctrl-C stops it.")
    for name, path in (
        ("Pages", "/"),
        ("Inbox", "/inbox"),
        ("Interactions", "/interactions"),
        ("Policies", "/policies"),
        ("Gateway", "/v1"),
    ):
        note(f"  {name:<13} {address}{path}")
    note(
        f"Sign in with a key; `backtalk key add NAME --role admin --store {location}` makes one."
        if needs_key
        else "No key is needed on this machine."
    )
