"""Options shared by several commands."""

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
        help="SQLite file, or a URL such as postgresql://USER@HOST/NAME.",
    ),
]
ProjectOption = Annotated[
    str, typer.Option("--project", "-p", envvar="BACKTALK_PROJECT", help="Project in the store.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
SeedOption = Annotated[int, typer.Option(help="Random seed.")]
ActorOption = Annotated[
    str,
    typer.Option(
        "--actor",
        envvar=["BACKTALK_ACTOR", "BACKTALK_WHO"],
        help="Name to record as the author of the change. Default: your user name.",
    ),
]
KindsOption = Annotated[
    list[str] | None,
    typer.Option("--kind", "-k", help="Use only feedback of this kind. Repeatable."),
]
AspectOption = Annotated[
    str,
    typer.Option(help="Aspect of the judgements, such as `safety`. Others are left out."),
]
OptionsOption = Annotated[
    list[str] | None,
    typer.Option("--option", "-o", metavar="NAME=VALUE", help="Set an option. Repeatable."),
]
MethodOptionsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--option",
        "-o",
        metavar="NAME=VALUE",
        help="Set an option of the method; `backtalk methods NAME` lists them. Repeatable.",
    ),
]
PolicyOption = Annotated[
    str | None,
    typer.Option(help="Policy to improve, by name or id. Default: the active policy."),
]
PolicyNameOption = Annotated[str | None, typer.Option(help="Name for the new policy.")]
TrainSplitOption = Annotated[
    Literal["train", "all"],
    typer.Option(help="Prompts to learn from; `all` includes those held out for evaluation."),
]
BaselineOption = Annotated[
    str | None,
    typer.Option(help="Baseline policy, by name or id. Default: the active policy."),
]
JudgeOption = Annotated[
    str | None,
    typer.Option(
        help="Judge of the answers: `recorded` for stored feedback on these very answers "
        "(`recorded:ASPECT` for one aspect), `people` for tasks in the inbox, `llm:MODEL`, "
        "`llm:MODEL@ADDRESS` or `llm:FILE.yaml` for a language model, `reward:ID` for a learned "
        "reward (`reward:held-out` for one fitted on the held-out feedback), or a registered "
        "reward (`backtalk judge list`). Default: stored feedback for recorded answers, "
        "`true-utility` in the sandbox, otherwise `reward:held-out`."
    ),
]
GuardOption = Annotated[
    list[str] | None,
    typer.Option(
        "--guard", help="Guardrail judge: the candidate must not score worse on it. Repeatable."
    ),
]
CheckJudgeOption = Annotated[
    int,
    typer.Option(
        "--check-judge",
        min=0,
        help="Maximum number of pairs on which a language model is compared with people's "
        "feedback in the store, after the evaluation; 0 for no check.",
    ),
]
MaxLeftOutOption = Annotated[
    float,
    typer.Option(
        "--max-left-out",
        min=0,
        max=1,
        help="Largest share of the prompts that a model may refuse, as its chat template cannot "
        "write them or they are too long. They are left out and listed.",
    ),
]
FreshOption = Annotated[
    bool,
    typer.Option(
        "--fresh",
        help="Generate all answers anew, such as after a change of the model behind an endpoint. "
        "Default: reuse the answers of earlier evaluations.",
    ),
]
WaitOption = Annotated[
    bool,
    typer.Option(
        "--wait/--no-wait",
        help="Wait for `--judge people`, or make the tasks and exit; the same command goes on.",
    ),
]
SplitOption = Annotated[
    Literal["train", "held-out", "all"],
    typer.Option(help="Prompts to use. One fifth is held out from learning."),
]
LimitOption = Annotated[
    int | None, typer.Option(min=1, help="Maximum number of prompts, sampled with the seed.")
]
TrainLimitOption = Annotated[
    int | None,
    typer.Option(
        "--limit",
        min=1,
        help="Maximum number of prompts to learn from, sampled with the seed. Default: all.",
    ),
]
PromptsOption = Annotated[
    Path | None,
    typer.Option(help="JSON Lines file of prompts (field `prompt`) to use instead of the store's."),
]
CallsOption = Annotated[
    int | None, typer.Option(min=0, help="Budget: maximum number of model calls.")
]
TokensOption = Annotated[int | None, typer.Option(min=0, help="Budget: maximum number of tokens.")]
MoneyOption = Annotated[
    float | None, typer.Option(min=0, help="Budget: maximum cost; needs --prices.")
]
SecondsOption = Annotated[
    float | None, typer.Option(min=0, help="Budget: maximum seconds of generation.")
]
SendToOption = Annotated[
    str | None,
    typer.Option(
        "--send-to",
        metavar="ADDRESS",
        help="Address for endpoint models that name none, such as https://api.openai.com/v1. "
        "Default: OPENAI_BASE_URL.",
    ),
]
PricesOption = Annotated[
    Path | None,
    typer.Option(
        help="YAML file of prices per million tokens: {model: {prompt: 0.15, completion: 0.60}}."
    ),
]

STORE = "backtalk.db"
PROJECT = "default"
