"""Cache folder of fetched models: where it is, and what is in it."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from backtalk.errors import BacktalkError, Conflict, NotFound
from backtalk.models.fetched.catalogue import CATALOGUE

MANIFEST = "backtalk.json"
"""File in the folder of a fetched model that lists its source and its files."""


class DamagedModel(BacktalkError):
    """Fetched model whose files are missing or have changed."""


@dataclass(frozen=True)
class Manifest:
    """Source and files of a fetched model."""

    name: str
    requirement: str
    """Package and version that it came from."""
    source_sha256: str
    """SHA-256 of the GGUF file."""
    licence: str
    converter: str
    """Packages that converted it, with their versions."""
    files: Mapping[str, tuple[int, str]]
    """Size in bytes and SHA-256 of each file."""
    check: Mapping[str, Any]
    """Measurements of the comparison with llama.cpp; empty if it was left out."""

    def write(self, folder: Path) -> None:
        """Write the manifest into the folder of the model."""
        (folder / MANIFEST).write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")


def cache_folder() -> Path:
    """Return the folder of fetched models.

    It is ``models`` in ``$BACKTALK_CACHE``, or else in the folder ``backtalk`` of the user's cache.
    """
    root = os.environ.get("BACKTALK_CACHE")
    if root:
        return Path(root).expanduser().absolute() / "models"
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "backtalk" / "models"


def fetched_models() -> dict[str, Path]:
    """Return the folders of the models that have been fetched, by name."""
    folders = {model.name: cache_folder() / model.name for model in CATALOGUE}
    return {name: folder for name, folder in folders.items() if folder.is_dir()}


def find_model(name: str) -> str:
    """Return the folder of a fetched model; any other name or path is returned unchanged.

    Raises
    ------
    NotFound
        If the name is that of a model that has yet to be fetched.
    Conflict
        If there is a folder of that name as well.
    DamagedModel
        If files of the model are missing or have another size.
    """
    if name not in {model.name for model in CATALOGUE}:
        return name
    folder = fetched_models().get(name)
    here = Path(name)
    if here.is_dir():
        if folder is None:
            return name
        raise Conflict(
            f"{name!r} is a fetched model, and the folder {here.absolute()}",
            f"Write ./{name} for the folder, or {folder} for the fetched model",
        )
    if folder is None:
        raise NotFound(
            f"The model {name!r} has not been fetched", f"Run `backtalk models fetch {name}`"
        )
    for file, (size, _) in read_manifest(folder).files.items():
        path = folder / file
        if not path.is_file() or path.stat().st_size != size:
            raise _damaged(folder, file)
    return str(folder)


def read_manifest(folder: Path) -> Manifest:
    """Return the manifest of a fetched model.

    Raises
    ------
    DamagedModel
        If there is none, or it cannot be read.
    """
    try:
        fields = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        files = {name: (int(size), str(digest)) for name, (size, digest) in fields["files"].items()}
        return Manifest(**{**fields, "files": files})
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        raise _damaged(folder, MANIFEST) from None


def verify(folder: Path) -> None:
    """Read all files of a fetched model, and compare them with its manifest.

    Raises
    ------
    DamagedModel
        If a file is missing or has changed; the message names it.
    """
    for file, (_, digest) in read_manifest(folder).files.items():
        path = folder / file
        if not path.is_file() or file_digest(path) != digest:
            raise _damaged(folder, file)


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal digits."""
    digest = sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def list_files(folder: Path) -> dict[str, tuple[int, str]]:
    """Return the size in bytes and the SHA-256 of each file in a folder."""
    return {
        path.name: (path.stat().st_size, file_digest(path))
        for path in sorted(folder.iterdir())
        if path.is_file()
    }


def _damaged(folder: Path, file: str) -> DamagedModel:
    return DamagedModel(
        f"The fetched model {folder.name!r} is damaged: {folder / file} is missing or has changed",
        f"Fetch it again with `backtalk models fetch {folder.name}`",
    )
