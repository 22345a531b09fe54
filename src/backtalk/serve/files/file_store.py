"""Storage of uploaded files: a folder each, with the content and its description."""

from __future__ import annotations

import json
import secrets
import shutil
import string
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path, PurePath
from typing import Any
from urllib.parse import quote, unquote

from backtalk.artifacts import Artifacts
from backtalk.errors import NotFound

TRAINING, RESULTS = "fine-tune", "fine-tune-results"
"""Purposes of the files that are stored here."""

_PREFIX = "file-bt"
_ALPHABET = string.ascii_letters + string.digits
_DESCRIPTION = "file.json"
_SUFFIX_LENGTH = 12


def random_id(prefix: str, length: int) -> str:
    """Return a prefix followed by random letters and digits."""
    return prefix + "".join(secrets.choice(_ALPHABET) for _ in range(length))


def is_stored_id(id: str) -> bool:  # noqa: A002
    """Return true if an id is that of a file here, not of one at the upstream.

    >>> is_stored_id("file-bt4kD0s8Zr1XcYqL7mVbNw"), is_stored_id("file-abc123")
    (True, False)
    """
    return id.startswith(_PREFIX) and id.removeprefix(_PREFIX).isalnum()


@dataclass(frozen=True)
class StoredFile:
    """Description of a file."""

    id: str
    project: str
    filename: str
    purpose: str
    bytes: int
    """Size in bytes."""
    created_at: float
    """Unix time in seconds."""
    expires_at: int | None = None
    """Unix time in seconds from which the file is gone; ``None`` if it stays."""

    def to_openai(self) -> dict[str, Any]:
        """Return the file object of OpenAI's API."""
        return {
            "id": self.id,
            "object": "file",
            "bytes": self.bytes,
            "created_at": int(self.created_at),
            "expires_at": self.expires_at,
            "filename": self.filename,
            "purpose": self.purpose,
            "status": "processed",
            "status_details": None,
        }


class FileStore:
    """Files of all projects, in a folder next to the artifacts of a store.

    A file is a folder that is renamed into its place when it is complete, so that processes that
    share the folder see whole files only.

    Parameters
    ----------
    root : Path
        Folder of the files; created with the first one.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    @classmethod
    def beside(cls, artifacts: Artifacts) -> FileStore:
        """Return the files of the store with these artifacts."""
        return cls(artifacts.folder_beside("files"))

    def temporary_folder(self) -> tempfile.TemporaryDirectory[str]:
        """Return a folder for content that is being received, on the disk of the files."""
        self._root.mkdir(parents=True, exist_ok=True, mode=0o700)
        return tempfile.TemporaryDirectory(prefix=".new-", dir=self._root)

    def add(
        self,
        project: str,
        content: Path,
        *,
        filename: str,
        purpose: str,
        lifetime: int | None = None,
    ) -> StoredFile:
        """Store a file, and return its description.

        Parameters
        ----------
        project : str
            Project that the file belongs to.
        content : Path
            File in :meth:`temporary_folder`, which is moved.
        filename : str
            Name that the file had.
        purpose : str
            Purpose of the file.
        lifetime : int, optional
            Number of seconds after which the file is gone. Default: it stays.
        """
        created = time.time()
        file = StoredFile(
            id=random_id(_PREFIX, 22),
            project=project,
            filename=filename,
            purpose=purpose,
            bytes=content.stat().st_size,
            created_at=created,
            expires_at=None if lifetime is None else int(created) + lifetime,
        )
        with self.temporary_folder() as parent:
            folder = Path(parent) / "file"
            folder.mkdir(mode=0o700)
            content.replace(folder / _content_name(filename))
            (folder / _DESCRIPTION).write_text(json.dumps(asdict(file)), encoding="utf-8")
            target = self._folder(file)
            target.parent.mkdir(exist_ok=True, mode=0o700)
            folder.rename(target)
        return file

    def add_text(self, project: str, text: str, *, filename: str, purpose: str) -> StoredFile:
        """Store a text as a file, and return its description.

        Parameters
        ----------
        project : str
            Project that the file belongs to.
        text : str
            Content.
        filename : str
            Name of the file.
        purpose : str
            Purpose of the file.
        """
        with self.temporary_folder() as folder:
            content = Path(folder) / "content"
            content.write_text(text, encoding="utf-8", newline="")
            return self.add(project, content, filename=filename, purpose=purpose)

    def find(self, id: str, project: str | None = None) -> StoredFile:  # noqa: A002
        """Return a file by its id.

        Parameters
        ----------
        id : str
            Id of the file.
        project : str, optional
            Project of the file. Default: any.

        Raises
        ------
        NotFound
            If there is no such file, or it has expired.
        """
        if is_stored_id(id):
            for folder in self._projects(project):
                file = _read(folder / id)
                if file is not None and not self._is_expired(file):
                    return file
        raise NotFound(f"No such File object: {id}", "`GET /v1/files` lists the files")

    def list(self, project: str | None = None) -> list[StoredFile]:
        """Return the files of a project, or of all projects, the oldest first."""
        files = [
            file
            for folder in self._projects(project)
            for path in folder.glob(f"{_PREFIX}*")
            if (file := _read(path)) is not None and not self._is_expired(file)
        ]
        return sorted(files, key=lambda file: (file.created_at, file.id))

    def content(self, file: StoredFile) -> Path:
        """Return the path of a file's content.

        Raises
        ------
        NotFound
            If the file has been deleted.
        """
        path = self._folder(file) / _content_name(file.filename)
        if not path.is_file():
            raise NotFound(f"The file {file.id} has been deleted", "Upload it again")
        return path

    def delete(self, file: StoredFile) -> None:
        """Delete a file with its content."""
        shutil.rmtree(self._folder(file), ignore_errors=True)

    def _folder(self, file: StoredFile) -> Path:
        return self._project_folder(file.project) / file.id

    def _project_folder(self, project: str) -> Path:
        """Return the folder of a project, below the root whatever the name of the project."""
        return self._root / quote(project, safe="").replace(".", "%2E")

    def _projects(self, project: str | None) -> Iterator[Path]:
        if project is not None:
            yield self._project_folder(project)
        elif self._root.is_dir():
            yield from sorted(
                path for path in self._root.iterdir() if not path.name.startswith(".new-")
            )

    def _is_expired(self, file: StoredFile) -> bool:
        if file.expires_at is None or time.time() < file.expires_at:
            return False
        self.delete(file)
        return True


def _content_name(filename: str) -> str:
    """Return the name of a content on disk; its ending tells importers the format."""
    suffix = PurePath(unquote(filename)).suffix
    is_plain = suffix[1:].isalnum() and suffix.isascii() and len(suffix) <= _SUFFIX_LENGTH
    return f"content{suffix.lower() if is_plain else ''}"


def _read(folder: Path) -> StoredFile | None:
    try:
        return StoredFile(**json.loads((folder / _DESCRIPTION).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
