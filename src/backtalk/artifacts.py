"""Content-addressed storage of artifacts, such as weights and recordings of policies.

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
    """Folder of artifacts; each is a folder of files, named by the hash of its content.

    Parameters
    ----------
    root : Path
        Folder of the artifacts; created with the first one.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(root)

    def folder_beside(self, kind: str) -> Path:
        """Return the folder next to the artifacts for something else, such as ``"runs"``.

        >>> str(Artifacts(Path("mails.artifacts")).folder_beside("files"))
        'mails.files'
        >>> str(Artifacts(Path("v1.2")).folder_beside("files"))
        'v1.2.files'
        """
        return self.root.with_name(f"{self.root.name.removesuffix('.artifacts')}.{kind}")

    def put(self, files: Mapping[str, bytes]) -> str:
        """Store files and return their id. The same content has the same id and is stored once."""
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
        """Store the files that ``write`` puts into a new folder, and return their id.

        Use it for files that do not fit into memory.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".new-", dir=self.root) as parent:
            folder = Path(parent) / "artifact"
            folder.mkdir()
            write(folder)
            target = self.root / _folder_id(folder)
            try:
                folder.rename(target)
            except OSError:
                # The same content exists already, or another process has just stored it.
                if not target.exists():
                    raise
        return target.name

    def ids(self) -> list[str]:
        """Return the ids of all artifacts, sorted."""
        if not self.root.is_dir():
            return []
        return sorted(p.name for p in self.root.iterdir() if not p.name.startswith("."))

    def path(self, id: str) -> Path:  # noqa: A002
        """Return the folder of an artifact.

        Raises
        ------
        NotFound
            If there is no such artifact.
        """
        target = self.root / id
        if not target.is_dir() or "/" in id or id.startswith("."):
            raise NotFound(
                f"There is no artifact {id!r} in {self.root}",
                "Copy it from the machine that made the policy, or train the policy again",
            )
        return target

    def read(self, id: str) -> dict[str, bytes]:  # noqa: A002
        """Return the files of an artifact, and check that their hash is its id.

        Raises
        ------
        BacktalkError
            If the files have changed.
        """
        folder = self.path(id)
        files = {
            str(path.relative_to(folder)): path.read_bytes()
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }
        if artifact_id(files) != id:
            raise BacktalkError(
                f"Artifact {id!r} in {self.root} is damaged: its content has changed",
                "Copy it again from the machine that made it, or train the policy again",
            )
        return files


def artifact_id(files: Mapping[str, bytes]) -> str:
    """Return the id of 64 hexadecimal digits that is determined by file names and contents."""
    digest = sha256()
    for name, content in sorted(files.items()):
        digest.update(f"{name}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


def _folder_id(folder: Path) -> str:
    """Return the id that :func:`artifact_id` gives for the files of a folder."""
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
