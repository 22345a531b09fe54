"""``backtalk export``: write feedback for other tools, or a whole project."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import typer

from backtalk.cli.options import (
    PROJECT,
    STORE,
    AspectOption,
    JsonOption,
    KindsOption,
    ProjectOption,
    StoreOption,
)


def add_to(app: typer.Typer, panel: str) -> None:
    """Add the command to a help panel."""
    app.command("export", rich_help_panel=panel)(export_command)


def export_command(
    context: typer.Context,
    path: Annotated[
        str,
        typer.Argument(
            help="File to write, JSON Lines or Parquet by its extension; for `archive`, a folder."
        ),
    ],
    *,
    format: Annotated[  # noqa: A002 - the usual name
        str,
        typer.Option(
            "--format", "-f", help="`backtalk`, `archive`, or the layout of another tool."
        ),
    ] = "backtalk",
    kind: KindsOption = None,
    aspect: AspectOption = "overall",
    split: Annotated[
        Literal["train", "held-out", "all"] | None,
        typer.Option(
            help="Prompts to export. Default: `train` for the layouts of trainers, which leaves "
            "out the fifth that is held out for evaluation; otherwise `all`."
        ),
    ] = None,
    reasoning: Annotated[
        bool,
        typer.Option(
            "--reasoning",
            help="Export what models thought before their answers, as `reasoning_content` of "
            "messages, in the layouts of TRL.",
        ),
    ] = False,
    store: StoreOption = STORE,
    project: ProjectOption = PROJECT,
    json: JsonOption = False,
) -> None:
    """Export feedback in the layout of another tool, or the whole project.

    Feedback is converted to what the layout holds: rankings to pairs, edits to demonstrations.
    Judgements of one aspect, such as safety, are left out unless `--aspect` names it. The layouts
    of trainers leave out the prompts that are held out for evaluation, unless `--split all` is set:
    a model that was trained on them elsewhere cannot be evaluated on them here. `archive`
    writes a folder with records, policies, evaluations, promotions and artifacts.

    Examples
    --------
    - `backtalk export pairs.jsonl -f trl-preference`
    - `backtalk export tune.jsonl.gz -f openai-chat --split train`
    - `backtalk export safe.jsonl -f trl-unpaired --aspect safety`
    - `backtalk export everything/ -f archive`
    """
    from backtalk.cli.context import opened, refuse_options
    from backtalk.cli.output import note, say, say_json
    from backtalk.feedback.aspects import listed_aspects
    from backtalk.formats import export
    from backtalk.formats.archive import write_archive
    from backtalk.formats.exporters.export import default_split

    with opened(store, project) as db:
        if format == "archive":
            refuse_options(
                context, "kind", "aspect", "split", because="an archive holds all feedback"
            )
            archived = write_archive(db, Path(path))
            counts = asdict(archived)
            text = ", ".join(f"{count:,} {name}" for name, count in counts.items())
        else:
            system_feedback = (
                db.feedback(kinds=kind, system_wide=True) if format == "backtalk" else ()
            )
            if format == "backtalk":
                refuse_options(context, "aspect", because="the layout holds all aspects")
            safe = default_split(format)
            done = export(
                db.cases(kinds=kind),
                path,
                format,
                aspect=aspect,
                split=split or safe,
                system_feedback=system_feedback,
                reasoning=reasoning,
            )
            counts = asdict(done)
            text = f"{done.rows:,} rows"
            if done.other_split:
                note(
                    f"Left out {done.other_split:,}: prompts of the other split, as the split is "
                    f"{done.split}; --split all exports all"
                )
            if done.split != "train" and safe == "train":
                note(
                    "Held-out prompts are among the rows. A model that is trained on them cannot "
                    "be evaluated on them: its results would look too good"
                )
            for reason, count in (done.reasons | done.dropped).items():
                note(f"Left out {count:,}: {reason}")
            if done.other_aspects:
                note(
                    f"Exported judgements on the aspect {aspect}. Left out "
                    f"{listed_aspects(done.other_aspects)}; --aspect exports one of them"
                )
    if json:
        say_json(counts)
    elif path != "-":
        say(f"{path}: {text}")
