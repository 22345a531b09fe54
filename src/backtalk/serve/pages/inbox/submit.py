"""Saving of submitted feedback, acknowledged only when it is durable, as in the feedback API."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import wait

from backtalk.errors import RecordError
from backtalk.feedback import AnyFeedback
from backtalk.serve.durability.write_ahead_log import WriteAheadLogFull
from backtalk.serve.errors import APIError
from backtalk.serve.services import Services


def submit(services: Services, project: str, items: Sequence[AnyFeedback]) -> None:
    """Save feedback durably: in the store, or synced to the gateway's write-ahead log.

    Feedback whose id exists was submitted before, in the same attempt, and is not changed.

    Parameters
    ----------
    services : Services
        Services of the gateway.
    project : str
        Project of the feedback.
    items : sequence of AnyFeedback
        Feedback to save.

    Raises
    ------
    APIError
        If the disk is full or fails.
    RecordError
        If the feedback does not fit its interaction.
    """
    writer = services.writer
    timeout = 0.0 if writer.store_unavailable else services.settings.acknowledge_after
    try:
        futures = writer.append_feedback(
            [(project, services.redactor.feedback(item)) for item in items]
        )
        if wait(futures, timeout=timeout).not_done:
            writer.log.sync()
        outcomes = [future.result() for future in futures if future.done()]
    except (WriteAheadLogFull, OSError) as error:
        raise APIError(503, f"The answer could not be saved: {error}") from None
    for outcome in outcomes:
        if outcome is not None and outcome.status == "rejected":
            raise RecordError(outcome.reason)
