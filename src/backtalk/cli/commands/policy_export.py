"""``backtalk policy export``: write the model of a policy for transformers, vLLM or llama.cpp."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from backtalk.cli.options import PROJECT, STORE, JsonOption, ProjectOption, StoreOption

if TYPE_CHECKING:
    from backtalk.policy.export import ExportForm


def export_policy_command(
    policy: Annotated[str, typer.Argument(help="Policy, by name or id.")],
    folder: Annotated[Path, typer.Argument(help="New folder; with --gguf also a file, NAME.gguf.")],
    *,
    merged: Annotated[
        bool,
        typer.Option(
            "--merged", help="All weights, for transformers and vLLM; adapters are merged."
        ),
    ] = False,
    adapter: Annotated[
        bool,
        typer.Option("--adapter", help="The adapter alone, for peft and vLLM's LoRA."),
    ] = False,
    gguf: Annotated[bool, typer.Option("--gguf", help="One file, for llama.cpp.")] = False,
    dtype: Annotated[
        Literal["auto", "float32", "float16", "bfloat16", "q8_0"],
        typer.Option(
            help="Number format of the weights. Default: that of the stored ones. q8_0 is for GGUF."
        ),
    ] = "auto",
    store: StoreOption = STORE,
    project: ProjectOption = PROJECT,
    json: JsonOption = False,
) -> None:
    """Write the model of a policy to a folder, for transformers, vLLM or llama.cpp.

    The system prompt and a decoder such as best-of-n are no part of a model: the command says what
    to set, and the folder has it in its README and in policy.yaml.

    Examples
    --------
    - `backtalk policy export tuned --merged tuned-model`
    - `backtalk policy export tuned --adapter tuned-adapter`
    - `backtalk policy export tuned --gguf tuned.gguf --dtype q8_0`
    """
    from backtalk.cli.context import opened
    from backtalk.cli.output import note, say, say_json
    from backtalk.policy import export_policy, read_policy

    form = _form(merged=merged, adapter=adapter, gguf=gguf)
    with opened(store, project) as db:
        exported = export_policy(
            read_policy(db, policy), folder, form, artifacts=db.artifacts, dtype=dtype
        )
    if json:
        say_json(
            {
                "path": str(exported.path),
                "form": exported.form,
                "files": exported.files,
                "bytes": exported.size,
                "notes": exported.notes,
            }
        )
        return
    count = len(exported.files)
    say(f"{exported.path}: {count} file{'' if count == 1 else 's'}, {_size(exported.size)}")
    for text in exported.notes:
        note(f"- {text}.")


def _form(*, merged: bool, adapter: bool, gguf: bool) -> ExportForm:
    from backtalk.errors import BacktalkError

    flags: dict[ExportForm, bool] = {"merged": merged, "adapter": adapter, "gguf": gguf}
    forms = [form for form, is_set in flags.items() if is_set]
    if len(forms) != 1:
        raise BacktalkError(
            "An export has one of three forms"
            + (f", not {len(forms)}" if forms else ", and none is named"),
            "Add --merged for transformers and vLLM, --adapter for peft, or --gguf for llama.cpp",
        )
    return forms[0]


def _size(size: int) -> str:
    """Return a size in bytes for people."""
    if size < 1_000_000:
        return f"{size / 1000:,.0f} kB"
    return f"{size / 1e6:,.1f} MB" if size < 1e9 else f"{size / 1e9:,.2f} GB"
