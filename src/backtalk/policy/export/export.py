"""Export of a policy's model: checks, a folder that appears when it is complete, and notes."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from backtalk.artifacts import Artifacts
from backtalk.errors import BacktalkError, Conflict, MissingExtra, UnknownName
from backtalk.models import LocalModel, LocalSpec, load_model
from backtalk.policy.export.notes import policy_notes, readme
from backtalk.policy.policy import Policy

ExportForm = Literal["merged", "adapter", "gguf"]
"""Form of the exported model: a folder of transformers, an adapter of peft, or a GGUF file."""

ExportDtype = Literal["auto", "float32", "float16", "bfloat16", "q8_0"]
"""Number format of the exported weights; ``"auto"`` is that of the stored weights."""


@dataclass(frozen=True)
class ExportedPolicy:
    """Exported model of a policy. Made by :func:`export_policy`."""

    path: Path
    """Folder, or the GGUF file if the target was named ``*.gguf``."""
    form: ExportForm
    files: tuple[str, ...]
    """Names of the files."""
    size: int
    """Size of all files, in bytes."""
    notes: tuple[str, ...]
    """Parts of the policy that are not in the files, with what to set in their place."""


def export_policy(
    policy: Policy,
    target: Path | str,
    form: ExportForm = "merged",
    *,
    artifacts: Artifacts | None = None,
    dtype: ExportDtype = "auto",
) -> ExportedPolicy:
    """Write the model of a policy to a new folder that other programs load.

    The folder appears when it is complete. It holds a README and the recipe, ``policy.yaml``: the
    system prompt and a decoder such as best-of-n are parts of a policy that no model file holds.

    Parameters
    ----------
    policy : Policy
        Policy with a local model.
    target : Path or str
        Folder, which does not exist or is empty. For GGUF also a file, ``NAME.gguf``.
    form : {"merged", "adapter", "gguf"}, default "merged"
        ``"merged"`` is a folder of transformers, with all adapters merged into the weights;
        transformers and vLLM load it. ``"adapter"`` is a folder of peft, without the base model.
        ``"gguf"`` is one file, which llama.cpp loads.
    artifacts : Artifacts, optional
        Artifacts with trained weights: a store's ``artifacts``.
    dtype : {"auto", "float32", "float16", "bfloat16", "q8_0"}, default "auto"
        Number format of the weights, by default that in which they are stored. ``"q8_0"`` is for
        GGUF only. An adapter stays as it was trained.

    Raises
    ------
    BacktalkError
        If the policy has no local weights, or the form does not fit its model.
    Conflict
        If the target exists.
    MissingExtra
        If packages are missing.
    """
    target = Path(target)
    _check(policy, target, form, dtype)
    model = _local_model(policy, artifacts)
    is_file = form == "gguf" and target.suffix == ".gguf"
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".export-", dir=target.parent) as temporary:
        folder = Path(temporary) / "export"
        folder.mkdir()
        write = _writer(form)
        notes = (*policy_notes(policy), *write(folder, policy, model, artifacts, dtype))
        if is_file:
            (source,) = folder.glob("*.gguf")
        else:
            source = folder
            (folder / "policy.yaml").write_text(policy.to_yaml(), encoding="utf-8")
            (folder / "README.md").write_text(readme(policy, form, folder, notes), encoding="utf-8")
            if target.is_dir():
                target.rmdir()
        shutil.move(source, target)
    files = [target] if is_file else sorted(path for path in target.rglob("*") if path.is_file())
    return ExportedPolicy(
        path=target,
        form=form,
        files=tuple(path.relative_to(target.parent if is_file else target).as_posix()
                    for path in files),
        size=sum(path.stat().st_size for path in files),
        notes=notes,
    )  # fmt: skip


def _check(policy: Policy, target: Path, form: str, dtype: str) -> None:
    """Raise an error for arguments that cannot work, before anything is loaded."""
    if form not in get_args(ExportForm):
        raise UnknownName.among("form of export", form, get_args(ExportForm))
    if dtype not in get_args(ExportDtype):
        raise UnknownName.among("number format", dtype, get_args(ExportDtype))
    if dtype == "q8_0" and form != "gguf":
        raise BacktalkError(
            "The number format q8_0 is for GGUF files only", "Choose float16, or export with --gguf"
        )
    if dtype != "auto" and form == "adapter":
        raise BacktalkError(
            "An adapter is exported as it was trained, so that a number format has no effect",
            "Leave --dtype out",
        )
    if target.is_file() or (target.is_dir() and any(target.iterdir())):
        kind = "file" if target.is_file() else "folder with files in it"
        raise Conflict(f"{target} is a {kind}", "Name a new folder, or delete it first")
    spec = policy.model
    if form == "adapter" and isinstance(spec, LocalSpec) and not spec.adapters:
        raise BacktalkError(
            f"The policy {policy.label} has no adapter: all of its weights are its own",
            "Export it with --merged, or learn with -o adapter=lora",
        )


def _local_model(policy: Policy, artifacts: Artifacts | None) -> LocalModel:
    """Return the model of a policy, whose weights are on this machine or on the hub."""
    kind = policy.model.kind
    mend = (
        "Export a policy with a local model: `kind: local`, or one that a method such as dpo or "
        "sft has trained"
    )
    if kind in {"endpoint", "replay", "mixture"}:
        source = {
            "endpoint": "answers by an endpoint, which has its weights",
            "replay": "replays recorded answers, and has no weights",
            "mixture": "mixes the probabilities of several models, and has no weights of its own",
        }[kind]
        raise BacktalkError(f"The policy {policy.label} {source}", mend)
    model = load_model(policy.model, artifacts)
    if not isinstance(model, LocalModel):
        raise BacktalkError(
            f"The policy {policy.label} answers with {model.name!r}, which has no weights here",
            mend,
        )
    return model


def _writer(form: ExportForm) -> Callable[..., tuple[str, ...]]:
    """Return the function that writes a form, with the packages that it needs."""
    try:
        match form:
            case "merged":
                from backtalk.policy.export.weights import write_merged  # noqa: PLC0415 - loads torch

                return write_merged
            case "adapter":
                from backtalk.policy.export.adapter import write_adapter  # noqa: PLC0415

                return write_adapter
            case "gguf":
                import gguf  # noqa: F401, PLC0415 - an extra of its own
    except ImportError:
        if form == "gguf":
            raise MissingExtra.named("gguf", "A GGUF file") from None
        raise MissingExtra.named("train", "An export") from None
    try:
        from backtalk.policy.export.weights import write_gguf_folder  # noqa: PLC0415
    except ImportError:
        raise MissingExtra.named("train", "An export") from None
    return write_gguf_folder
