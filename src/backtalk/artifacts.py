"""Weights and recordings that policies refer to: folders of plain files, named by their content.

>>> from tempfile import mkdtemp
>>> artifacts = Artifacts(Path(mkdtemp()))
>>> id_ = artifacts.put({"reward.json": b"{}"})
>>> (artifacts.path(id_) / "reward.json").read_bytes()
b'{}'
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

from backtalk.errors import BacktalkError, NotFound


class Artifacts:
    """A folder of artifacts, each a folder of files whose name is the hash of its content.

    Parameters
    ----------
    root
        Where they are kept; made when the first one is put.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(root)

    def put(self, files: Mapping[str, bytes]) -> str:
        """Keep files and return their id; the same content has the same id and is kept once."""
        id_ = artifact_id(files)
        target = self.root / id_
        if target.exists():
            return id_
        self.root.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=".new-", dir=self.root))
        try:
            for name, content in files.items():
                path = made / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            made.rename(target)
        except OSError:
            shutil.rmtree(made, ignore_errors=True)
            if not target.exists():
                raise
        return id_

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
