"""Warning of answers that reached the token limit and are incomplete."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from backtalk.models.protocol import Completion

log = logging.getLogger(__name__)


def warn_of_cut_answers(policy: str, answers: Sequence[Completion]) -> int:
    """Warn of answers that reached the token limit, and return their number.

    Parameters
    ----------
    policy : str
        Label of the policy that answered.
    answers : sequence of Completion
        Its answers.
    """
    cut = sum(answer.finish_reason == "length" for answer in answers)
    if cut:
        log.warning(
            "%s of %s answers of the policy %s were cut at the token limit: raise `max_tokens` "
            "under `sampling` in its decoder.",
            f"{cut:,}",
            f"{len(answers):,}",
            policy,
        )
    return cut
