"""Files of a stored reward, and their description."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from backtalk.artifacts import artifact_id
from backtalk.errors import NotFound
from backtalk.feedback.snapshot import Snapshot
from backtalk.rewards.judge_info import JudgeInfo

REWARD_FILE = "reward.json"
"""File with the kind, the name and the origin of a reward."""


def read_fields(files: Mapping[str, bytes]) -> dict[str, Any]:
    """Return the content of ``reward.json``.

    Raises
    ------
    NotFound
        If the artifact is not a reward.
    """
    if REWARD_FILE not in files:
        raise NotFound("The artifact is not a reward", "`backtalk reward list` lists the rewards")
    fields: dict[str, Any] = json.loads(files[REWARD_FILE])
    return fields


def content_digest(files: Mapping[str, bytes]) -> str:
    """Return the hash of everything that determines the order of a reward's scores.

    ``reward.json`` is not part of it: a reward that is stored under another name, or calibrated
    anew, has the same digest.
    """
    return artifact_id({name: content for name, content in files.items() if name != REWARD_FILE})


def reward_label(title: str | None, pairs: int, points: int = 0) -> str:
    """Return the name of a learned reward in reports.

    >>> reward_label("tone", 16), reward_label(None, 16)
    ('tone (Bradley-Terry on 16 pairs)', 'Bradley-Terry on 16 pairs')
    >>> reward_label(None, 0, 200)
    'logistic regression on 200 judgements'

    Parameters
    ----------
    title : str or None
        Name that the user gave it.
    pairs : int
        Number of training pairs.
    points : int, default 0
        Number of single responses with a judgement.
    """
    if points and not pairs:
        label = f"logistic regression on {points} judgements"
    else:
        label = f"Bradley-Terry on {pairs} pairs" + f" and {points} judgements" * bool(points)
    return label if title is None else f"{title} ({label})"


def describe_files(id_: str, files: Mapping[str, bytes]) -> JudgeInfo:
    """Return the description of a stored reward, without loading its embedder.

    Parameters
    ----------
    id_ : str
        Id of the artifact.
    files : Mapping[str, bytes]
        Files of the artifact.

    Raises
    ------
    NotFound
        If the artifact is not a reward.
    """
    fields = read_fields(files)
    snapshot = fields.get("fitted_on")
    pairs = fields.get("pairs")
    return JudgeInfo(
        name=f"reward {id_[:8]}"
        if pairs is None
        else reward_label(fields.get("name"), pairs, fields.get("points", 0)),
        kind="reward",
        artifact=id_,
        digest=content_digest(files),
        fitted_on=None if snapshot is None else Snapshot.model_validate(snapshot),
    )
