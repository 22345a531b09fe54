"""Record of a finished training run, which replaces its checkpoint of 12 bytes a parameter."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from backtalk.artifacts import Artifacts
from backtalk.errors import NotFound
from backtalk.models import LocalSpec

_FILE = "finished.json"


@dataclass(frozen=True)
class FinishedRun:
    """Model that a training run made, and the artifact of its history."""

    model: LocalSpec
    history: str

    @classmethod
    def read(cls, folder: Path | None, fingerprint: str, artifacts: Artifacts) -> Self | None:
        """Return the record of an earlier run, ``None`` if there is none or it lacks artifacts.

        Parameters
        ----------
        folder : Path or None
            Folder of the run's checkpoints.
        fingerprint : str
            Digest of the data, the options and the initial weights; a record with another one is
            of another run.
        artifacts : Artifacts
            Store of the weights and of the history.
        """
        if folder is None or not (folder / _FILE).is_file():
            return None
        data = json.loads((folder / _FILE).read_text(encoding="utf-8"))
        if data["fingerprint"] != fingerprint:
            return None
        record = cls(LocalSpec.model_validate(data["model"]), data["history"])
        weights = [record.model.artifact] if record.model.artifact else []
        try:
            for id_ in (*weights, *record.model.adapters, record.history):
                artifacts.path(id_)
        except NotFound:
            return None
        return record

    def write(self, folder: Path, fingerprint: str) -> None:
        """Write the record to the folder of the run's checkpoints."""
        folder.mkdir(parents=True, exist_ok=True)
        data = {
            "fingerprint": fingerprint, "model": self.model.to_dict(), "history": self.history
        }  # fmt: skip
        new = folder / f"{_FILE}.new"
        new.write_text(json.dumps(data), encoding="utf-8")
        new.replace(folder / _FILE)
