"""``backtalk serve``: the gateway."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from backtalk.cli.options import STORE


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("serve")(serve)


def serve(
    *,
    upstream: Annotated[
        list[str] | None,
        typer.Option(
            "--upstream",
            "-u",
            help="The address of an OpenAI-compatible server, up to and with /v1. Of several, the "
            "next one is asked when one fails.",
        ),
    ] = None,
    key_env: Annotated[
        list[str] | None,
        typer.Option(help="The variable that holds the upstream's key; one for each upstream."),
    ] = None,
    host: Annotated[str, typer.Option(help="Where to listen.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Where to listen.")] = 8080,
    workers: Annotated[int, typer.Option(min=1, help="How many processes share the work.")] = 1,
    open_: Annotated[bool, typer.Option("--open", help="Ask nobody for a key.")] = False,
    origin: Annotated[
        list[str] | None,
        typer.Option(help="A page that may send feedback from a browser: https://example.org"),
    ] = None,
    redact: Annotated[
        list[str] | None,
        typer.Option(help="Blacken before storing: email, phone, card or package.module:function."),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="A YAML file with these and all other settings.")
    ] = None,
    store: Annotated[
        str | None,
        typer.Option("--store", "-s", envvar="BACKTALK_STORE", help="A SQLite file, or a URL."),
    ] = None,
    project: Annotated[
        str | None,
        typer.Option(
            "--project", "-p", envvar="BACKTALK_PROJECT", help="Where the records of others go."
        ),
    ] = None,
) -> None:
    """Serve an OpenAI-compatible gateway that keeps every answer and takes feedback on it.

    The model `backtalk:PROJECT` is the promoted policy of a project, `backtalk:PROJECT/POLICY` a
    named one; every other model is the upstream's. `POST /v1/feedback` takes feedback on an
    answer by its id. Who may come in has a key, made with `backtalk keys add`; on this machine's
    own address none is asked for until the store has its first one.

    Examples
    --------
    - `backtalk serve --upstream http://localhost:8000/v1`
    - `backtalk serve -u https://api.openai.com/v1 --key-env OPENAI_API_KEY --host 0.0.0.0`
    - `backtalk serve --config serve.yaml --workers 4`
    """
    from backtalk.cli.output import note
    from backtalk.errors import BacktalkError, MissingExtra

    try:
        from backtalk.serve.server import check, is_loopback, read_settings, run
    except ModuleNotFoundError as error:
        raise MissingExtra.named("serve", "The gateway") from error

    names = key_env or []
    if len(names) > len(upstream or []):
        raise BacktalkError(
            f"There are {len(names)} --key-env for {len(upstream or [])} --upstream",
            "Give an --upstream for each, in the same order",
        )
    given = [
        {"base_url": url, "api_key_env": names[i] if i < len(names) else None}
        for i, url in enumerate(upstream or [])
    ]
    keys = "never" if open_ else "if-any" if is_loopback(host) else None
    settings = read_settings(
        config,
        upstreams=given or None,
        keys=keys,
        origins=origin or None,
        redact=redact or None,
        store=store or (STORE if config is None else None),
        project=project,
    )
    check(settings, host=host, port=port)
    note(f"Serving {settings.store} on http://{host}:{port}/v1")
    run(settings, host=host, port=port, workers=workers)
