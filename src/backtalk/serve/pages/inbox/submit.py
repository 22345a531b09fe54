"""Keeping answers the way the feedback API does: acknowledged only when they are safe."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import wait

from backtalk.errors import RecordError
from backtalk.feedback import AnyFeedback
from backtalk.serve.durability.write_ahead_log import WriteAheadLogFull
from backtalk.serve.errors import APIError
from backtalk.serve.services import Services


def submit(services: Services, project: str, items: Sequence[AnyFeedback]) -> None:
    """Keep feedback. Once this returns it is in the store, or synced to the gateway's disk.

    An answer whose id is taken was given before, in the same attempt, and stays as it is.

    Raises
    ------
    Refused
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
        outcomes = [answer.result() for answer in futures if answer.done()]
    except (WriteAheadLogFull, OSError) as error:
        raise APIError(503, f"The answer could not be kept: {error}") from None
    for outcome in outcomes:
        if outcome is not None and outcome.status == "rejected":
            raise RecordError(outcome.reason)
