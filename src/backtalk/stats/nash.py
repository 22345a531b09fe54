"""Preferences as a game of two policies: what no other policy wins against, and how far one is.

Both players answer. A preference ``P[a, b]``, the probability that answer a is better than b, pays
the first one. It need not come from scores: a may beat b, b beat c, and c beat a.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linprog, root
from scipy.special import log_softmax, logsumexp, rel_entr, softmax

from backtalk.stats.estimate import InvalidValues

Array = NDArray[np.float64]


def exploitability(
    preference: ArrayLike,
    policy: ArrayLike,
    *,
    reference: ArrayLike | None = None,
    tau: float = 0.0,
) -> float:
    """Return by how much the best response to a policy wins more than half of the time.

    With a regularisation, ``max over pi' of P(pi' > pi) - tau KL(pi', mu) + tau KL(pi, mu) - 1/2``.
    It is 0 at the Nash policy and above 0 elsewhere.

    Parameters
    ----------
    preference : ArrayLike
        Shape ``(n, n)``, where ``P + P.T`` is 1.
    policy : ArrayLike
        The probability of each answer, shape ``(n,)``.
    reference : ArrayLike, optional
        That of the policy ``mu`` that both stay near; only used with ``tau``.
    tau : float, default 0.0
        How near, in shares of wins a nat.

    Raises
    ------
    InvalidValues
        If the preference is none, or a regularisation has no reference.

    References
    ----------
    Munos et al. (2023), "Nash learning from human feedback", section 4.
    """
    table, mu = _checked(preference, reference, tau)
    pi = np.asarray(policy, dtype=float)
    wins = table @ pi
    if mu is None:
        return float(wins.max() - 0.5)
    best = tau * logsumexp(wins / tau, b=mu)
    return float(best + tau * rel_entr(pi, mu).sum() - 0.5)


def nash(preference: ArrayLike, *, reference: ArrayLike | None = None, tau: float = 0.0) -> Array:
    """Return the policy that no policy wins against more often than not, shape ``(n,)``.

    Without a regularisation it is found by a linear program, and one of several where there are
    more. With one it is the only fixed point of ``pi proportional to mu exp(P(. > pi) / tau)``,
    found by Powell's method from regularisations that grow weaker.

    Parameters
    ----------
    preference, reference, tau
        As for :func:`exploitability`.

    Raises
    ------
    InvalidValues
        If the preference is none, a regularisation has no reference, or is too weak to be computed.
    """
    table, mu = _checked(preference, reference, tau)
    count = len(table)
    if mu is None:
        result = linprog(
            np.zeros(count),
            A_ub=table - 0.5,
            b_ub=np.zeros(count),
            A_eq=np.ones((1, count)),
            b_eq=[1.0],
        )
        return np.asarray(result.x, dtype=float)
    base = np.log(mu)
    logits = base
    for strength in tau * 2.0 ** np.arange(8, -1, -1):
        solved = root(
            lambda x, s=strength: x - log_softmax(base + table @ softmax(x) / s),
            logits,
            options={"xtol": 1e-14},
        )
        logits = solved.x
    policy = np.asarray(softmax(logits))
    if not exploitability(table, policy, reference=mu, tau=tau) < 1e-6:
        raise InvalidValues(
            f"No Nash policy was found at tau {tau:g}",
            "Take a larger tau, or 0 for the game without a regularisation",
        )
    return policy


def _checked(
    preference: ArrayLike, reference: ArrayLike | None, tau: float
) -> tuple[Array, Array | None]:
    table = np.asarray(preference, dtype=float)
    if table.ndim != 2 or table.shape[0] != table.shape[1] or not np.allclose(table + table.T, 1):
        raise InvalidValues(
            f"A table of shape {table.shape} is no preference between answers",
            "Give P(a > b) for each two answers, with P(a > b) + P(b > a) = 1",
        )
    if tau == 0:
        return table, None
    if reference is None:
        raise InvalidValues(
            f"A regularisation of {tau:g} has no reference to be near",
            "Give the probability that the reference has for each answer",
        )
    return table, np.asarray(reference, dtype=float)
