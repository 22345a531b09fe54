"""The options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

StoreOption = Annotated[
    str,
    typer.Option(
        "--store",
        "-s",
        envvar="BACKTALK_STORE",
        help="A SQLite file, or a URL such as postgresql://USER@HOST/NAME.",
    ),
]
ProjectOption = Annotated[
    str,
    typer.Option("--project", "-p", envvar="BACKTALK_PROJECT", help="The name space to work in."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
SeedOption = Annotated[int, typer.Option(help="Decides everything that is drawn at random.")]
WhoOption = Annotated[
    str, typer.Option(envvar="BACKTALK_WHO", help="Who decides; by default the user's name.")
]
KindsOption = Annotated[
    list[str] | None,
    typer.Option("--kind", "-k", help="Only feedback of this kind; may be given several times."),
]
OptionsOption = Annotated[
    list[str] | None,
    typer.Option("--option", "-o", help="NAME=VALUE; may be given several times."),
]
JudgeOption = Annotated[
    str,
    typer.Option(
        help="Who judges: `recorded` for the feedback in the store on these very answers, "
        "`reward:ID` for a learned reward, or the name of a registered reward."
    ),
]
GuardOption = Annotated[
    list[str] | None,
    typer.Option("--guard", help="A judge by whom it must not get worse; several may be given."),
]
SplitOption = Annotated[
    Literal["train", "held-out", "all"],
    typer.Option(help="Which prompts. A fifth of all is held out from learning."),
]
LimitOption = Annotated[
    int | None, typer.Option(min=1, help="At most so many prompts, drawn by the seed.")
]
PromptsOption = Annotated[
    Path | None,
    typer.Option(
        help="A file of prompts to use instead of the store's: JSON lines with a field `prompt`."
    ),
]
CallsOption = Annotated[int | None, typer.Option(min=0, help="Budget: the most model calls.")]
TokensOption = Annotated[int | None, typer.Option(min=0, help="Budget: the most tokens.")]
MoneyOption = Annotated[
    float | None, typer.Option(min=0, help="Budget: the most money, by --prices.")
]
SecondsOption = Annotated[
    float | None, typer.Option(min=0, help="Budget: the most seconds of generating.")
]
PricesOption = Annotated[
    Path | None,
    typer.Option(help="YAML: {model: {prompt: 0.15, completion: 0.60}}, by a million tokens."),
]

STORE = "backtalk.db"
PROJECT = "default"
