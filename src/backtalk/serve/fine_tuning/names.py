"""Names of fine-tuned models, and ids of jobs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote, unquote

from backtalk.serve.files.file_store import random_id

JOB_PREFIX = "ftjob-bt"
_MODEL = re.compile(
    r"ft:(?P<base>[^:/]*):(?P<project>[^:/]+):(?P<suffix>[^:/]*):(?P<id>bt[0-9A-Za-z]{8})"
    r"(?P<checkpoint>:ckpt-step-\d+)?"
)
_OTHER = re.compile(r"[^\w.-]+")


@dataclass(frozen=True)
class FineTunedName:
    """Parts of the name of a fine-tuned model."""

    base: str
    project: str
    suffix: str
    id: str
    checkpoint: str = ""
    """``":ckpt-step-N"`` for a checkpoint, empty for the final model."""


def parse_fine_tuned(name: str) -> FineTunedName | None:
    """Return the parts of the name of a model that was fine-tuned here, ``None`` for any other.

    Ids of models that were fine-tuned elsewhere have another form.

    >>> parse_fine_tuned("ft:small:mail:brief:bt7p4lURel")
    FineTunedName(base='small', project='mail', suffix='brief', id='bt7p4lURel', checkpoint='')
    >>> parse_fine_tuned("ft:gpt-4o-mini:acme::7p4lURel")
    """
    if not name.startswith("ft:"):
        return None
    match = _MODEL.fullmatch(name)
    if match is None:
        return None
    parts = match.groupdict(default="")
    return FineTunedName(**{**parts, "project": unquote(parts["project"])})


def fine_tuned_name(base: str, project: str, suffix: str | None, id: str) -> str:  # noqa: A002
    """Return the name of a fine-tuned model.

    >>> fine_tuned_name("backtalk:mail/plain", "mail", "No emojis", "bt7p4lURel")
    'ft:plain:mail:No-emojis:bt7p4lURel'

    Parameters
    ----------
    base : str
        Name of the base model in the request.
    project : str
        Project of the model.
    suffix : str or None
        Part of the name that the user chose.
    id : str
        Unique part of the name.
    """
    parsed = parse_fine_tuned(base)
    base = base.rpartition("/")[2].removeprefix("backtalk:") if parsed is None else parsed.base
    chosen = _OTHER.sub("-", suffix or "").strip("-")
    return f"ft:{_OTHER.sub('-', base)}:{quote(project, safe='')}:{chosen}:{id}"


def checkpoint_name(model: str, step: int) -> str:
    """Return the name of a checkpoint of a fine-tuned model."""
    return f"{model}:ckpt-step-{step}"


def new_job_id() -> str:
    """Return the id of a new job."""
    return random_id(JOB_PREFIX, 22)


def new_model_id() -> str:
    """Return the unique part of the name of a new model."""
    return random_id("bt", 8)


def is_job_id(id: str) -> bool:  # noqa: A002
    """Return true if an id is that of a job here, not of one at the upstream."""
    return id.startswith(JOB_PREFIX) and id.removeprefix(JOB_PREFIX).isalnum()
