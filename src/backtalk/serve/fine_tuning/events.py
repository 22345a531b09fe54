"""Events of a fine-tuning job: messages and metrics, in the event log of its project."""

from __future__ import annotations

import json
from typing import Any, Literal

from backtalk.errors import Conflict
from backtalk.store import Store

Level = Literal["info", "warn", "error"]

_ACTOR = "fine-tuning"
_ATTEMPTS = 20
"""Number of attempts to append an event while other processes append some too."""


def topic(job_id: str) -> str:
    """Return the topic of a job's events."""
    return f"fine-tune {job_id}"


def append_event(
    store: Store,
    job_id: str,
    message: str,
    *,
    level: Level = "info",
    metrics: dict[str, float] | None = None,
) -> None:
    """Append an event.

    Parameters
    ----------
    store : Store
        Store of the job's project.
    job_id : str
        Job.
    message : str
        One sentence.
    level : {"info", "warn", "error"}, default "info"
        Severity.
    metrics : dict of str to float, optional
        Measurements, of an event that reports some.
    """
    event: dict[str, Any] = {
        "level": level,
        "message": message,
        "type": "message" if metrics is None else "metrics",
        "data": metrics or {},
    }
    for attempt in range(_ATTEMPTS):
        last = store.events.last(topic(job_id))
        try:
            store.events.append(topic(job_id), json.dumps(event), actor=_ACTOR, after=last)
        except Conflict:
            if attempt == _ATTEMPTS - 1:
                raise
        else:
            return


def list_events(store: Store, job_id: str) -> list[dict[str, Any]]:
    """Return the events of a job as objects of OpenAI's API, the latest first."""
    unique = job_id.partition("-")[2]
    return [
        {
            "object": "fine_tuning.job.event",
            "id": f"ftevent-{unique}-{entry.number}",
            "created_at": int(entry.time.timestamp()),
            **json.loads(entry.body),
        }
        for entry in reversed(store.events.entries(topic(job_id)))
    ]


def last_step(store: Store, job_id: str) -> int:
    """Return the last step whose metrics are among the events, 0 if there is none."""
    return max(
        (int(event["data"].get("step", 0)) for event in list_events(store, job_id)), default=0
    )
