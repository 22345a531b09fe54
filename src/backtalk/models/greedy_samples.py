"""Warning of several samples that are equal, as they are drawn greedily."""

from __future__ import annotations

import logging

from backtalk.models.protocol import Sampling

log = logging.getLogger(__name__)


def warn_of_greedy_samples(policy: str, sampling: Sampling, count: int) -> bool:
    """Warn if several samples of a prompt are drawn at temperature 0, and return whether they are.

    Parameters
    ----------
    policy : str
        Label of the policy that is sampled.
    sampling : Sampling
        Sampling parameters.
    count : int
        Number of samples of each prompt.
    """
    is_greedy = count > 1 and sampling.temperature == 0
    if is_greedy:
        log.warning(
            "The policy %s answers greedily, so that its %s samples of a prompt are equal: set "
            "`temperature` under `sampling` in its decoder above 0.",
            policy,
            count,
        )
    return is_greedy
