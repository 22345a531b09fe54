"""Weights and recordings that policies refer to: folders of plain files, named by their content.

>>> from tempfile import mkdtemp
>>> artifacts = Artifacts(Path(mkdtemp()))
>>> id_ = artifacts.put({"reward.json": b"{}"})
>>> (artifacts.path(id_) / "reward.json").read_bytes()
b'{}'
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path

from backtalk.errors import BacktalkError, NotFound


class Artifacts:
    """A folder of artifacts, each a folder of files whose name is the hash of its content.

    Parameters
    ----------
    root : Path
        Where they are kept; made when the first one is put.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(root)

    def put(self, files: Mapping[str, bytes]) -> str:
        """Keep files and return their id; the same content has the same id and is kept once."""
        id_ = artifact_id(files)
        if (self.root / id_).exists():
            return id_

        def write(folder: Path) -> None:
            for name, content in files.items():
                path = folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)

        return self.make(write)

    def make(self, write: Callable[[Path], None]) -> str:
        """Keep what is written into a new folder, and return its id.

        For files that are too large to be held at once.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".new-", dir=self.root) as near:
            made = Path(near) / "artifact"
            made.mkdir()
            write(made)
            target = self.root / _folder_id(made)
            try:
                made.rename(target)
            except OSError:
                # The same content is here already, or another process has just put it.
                if not target.exists():
                    raise
        return target.name

    def ids(self) -> list[str]:
        """Return the ids of all artifacts that are kept here."""
        if not self.root.is_dir():
            return []
        return sorted(p.name for p in self.root.iterdir() if not p.name.startswith("."))

    def path(self, id: str) -> Path:  # noqa: A002
        """Return the folder of an artifact.

        Raises
        ------
        NotFound
            If it is not kept here.
        """
        target = self.root / id
        if not target.is_dir() or "/" in id or id.startswith("."):
            raise NotFound(
                f"There is no artifact {id!r} in {self.root}",
                "Copy it from where the policy was made, or learn the policy again",
            )
        return target

    def read(self, id: str) -> dict[str, bytes]:  # noqa: A002
        """Return the files of an artifact, after checking that they are what its id says.

        Raises
        ------
        BacktalkError
            If the files were changed since they were put.
        """
        folder = self.path(id)
        files = {
            str(path.relative_to(folder)): path.read_bytes()
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }
        if artifact_id(files) != id:
            raise BacktalkError(
                f"Artifact {id!r} in {self.root} is damaged: its content is not what it was",
                "Copy it again from where it was made, or learn the policy again",
            )
        return files


def artifact_id(files: Mapping[str, bytes]) -> str:
    """Return the id, 64 hexadecimal digits, that the names and contents of files determine."""
    digest = sha256()
    for name, content in sorted(files.items()):
        digest.update(f"{name}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


def _folder_id(folder: Path) -> str:
    """Return the id that :func:`artifact_id` gives the files of a folder."""
    digest = sha256()
    names = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*")}
    for name, path in sorted(names.items()):
        if not path.is_file():
            continue
        digest.update(f"{name}\0{path.stat().st_size}\0".encode())
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()
