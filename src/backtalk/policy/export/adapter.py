"""Export of an adapter: a folder of peft that names its base model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from peft import PeftModel

from backtalk.artifacts import Artifacts
from backtalk.errors import BacktalkError, NotFound
from backtalk.models import LocalModel, LocalSpec
from backtalk.models.fetched import find_model
from backtalk.models.local.loading import hide_peft_warnings
from backtalk.policy.policy import Policy

_CONFIG = "adapter_config.json"
_VLLM_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""Maximum ranks that vLLM can be started with; 16 is its default."""


def write_adapter(
    folder: Path,
    policy: Policy,
    model: LocalModel,  # noqa: ARG001 - as every writer
    artifacts: Artifacts | None,
    dtype: str,  # noqa: ARG001 - as every writer
) -> tuple[str, ...]:
    """Write the adapter of a policy, and return notes for the user.

    Several adapters in a row become one whose rank is the sum of theirs: the changes of LoRA add
    up.

    Parameters
    ----------
    folder : Path
        Empty folder.
    policy : Policy
        Policy to export.
    model : LocalModel
        Not used: the base model is loaded without its adapters.
    artifacts : Artifacts or None
        Store of the adapters.
    dtype : str
        Not used: an adapter stays as it was trained.

    Raises
    ------
    BacktalkError
        If the model has no adapter, or its adapters do not add up.
    """
    spec = policy.model
    if not isinstance(spec, LocalSpec):
        raise BacktalkError(
            f"The policy {policy.label} has no adapter: its model is registered under a name",
            "Export it with --merged",
        )
    if artifacts is None:
        raise NotFound(
            f"The adapter of {policy.label} is an artifact, and no artifact store was passed",
            "Pass the artifacts of the store that it was learned in: store.artifacts",
        )
    folders = [artifacts.path(id_) for id_ in spec.adapters]
    configs = [json.loads((path / _CONFIG).read_text(encoding="utf-8")) for path in folders]
    if len(folders) == 1:
        shutil.copytree(folders[0], folder, dirs_exist_ok=True)
    else:
        _check_sum(policy, configs)
        _write_sum(folder, spec, artifacts, folders)
    config = json.loads((folder / _CONFIG).read_text(encoding="utf-8"))
    base, note = _base(spec, artifacts)
    config |= {"base_model_name_or_path": base, "revision": spec.revision}
    (folder / _CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True), encoding="utf-8")
    return tuple(text for text in (note, *_template_notes(spec), *_server_notes(config)) if text)


def _check_sum(policy: Policy, configs: list[dict[str, Any]]) -> None:
    if any(config.get("use_dora") for config in configs):
        raise BacktalkError(
            f"The policy {policy.label} has {len(configs)} adapters in a row, one of them DoRA, "
            "whose changes do not add up to one adapter",
            "Export it with --merged",
        )


def _write_sum(folder: Path, spec: LocalSpec, artifacts: Artifacts, folders: list[Path]) -> None:
    base = spec.model_copy(update={"adapters": ()}).load(artifacts)
    assert isinstance(base, LocalModel)
    names = [f"adapter_{index}" for index in range(len(folders))]
    with hide_peft_warnings():
        adapted = PeftModel.from_pretrained(
            base.load_trainable_engine().model, folders[0], adapter_name=names[0]
        )
        for name, path in zip(names[1:], folders[1:], strict=True):
            adapted.load_adapter(path, name)
    adapted.add_weighted_adapter(names, [1.0] * len(names), "sum", combination_type="cat")
    adapted.save_pretrained(str(folder), selected_adapters=["sum"])
    for path in (folder / "sum").iterdir():
        path.rename(folder / path.name)
    (folder / "sum").rmdir()
    (folder / "README.md").unlink(missing_ok=True)


def _base(spec: LocalSpec, artifacts: Artifacts) -> tuple[str, str]:
    """Return the name or folder of the base model, with a note if it is a folder."""
    source = None if spec.model is None else find_model(spec.model)
    if source is not None and not Path(source).is_dir():
        return source, ""
    path = artifacts.path(str(spec.artifact)) if source is None else Path(source)
    base = str(path.resolve())
    note = f"The base model is the folder {base}. Elsewhere, put its path there into {_CONFIG}"
    if spec.artifact is not None:
        note += "; `backtalk policy export PARENT --merged FOLDER` exports it"
    return base, note


def _template_notes(spec: LocalSpec) -> tuple[str, ...]:
    if spec.chat_template is None and not spec.template_options:
        return ()
    note = (
        "The policy sets a chat template or options of it, which policy.yaml holds. Set them in "
        "the program that loads the adapter, or export with --merged"
    )
    return (note,)


def _server_notes(config: dict[str, Any]) -> tuple[str, ...]:
    if config.get("use_dora"):
        return ("vLLM loads no DoRA adapters. Export with --merged for vLLM",)
    rank = int(config["r"])
    if rank <= 16:
        return ()
    limit = next((limit for limit in _VLLM_RANKS if limit >= rank), None)
    if limit is None:
        return (f"vLLM loads no adapter of rank {rank}. Export with --merged for vLLM",)
    return (f"Start vLLM with --max-lora-rank {limit}: the adapter has rank {rank}",)
