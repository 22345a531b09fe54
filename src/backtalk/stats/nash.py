"""Nash equilibrium and exploitability in the two-player game of preferences.

Both players choose an answer. The payoff of the first is ``P[a, b]``, the probability that answer a
is preferred to b. Preferences may be intransitive: a may beat b, b beat c, and c beat a.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import linprog, root
from scipy.special import log_softmax, logsumexp, rel_entr, softmax

from backtalk.stats.estimate import InvalidValues
from backtalk.stats.validation import Floats, finite_values, float_array


def exploitability(
    preference: ArrayLike,
    policy: ArrayLike,
    *,
    reference: ArrayLike | None = None,
    tau: float = 0.0,
) -> float:
    """Return the win rate of the best response to a policy, minus one half.

    With a regularisation, ``max over pi' of P(pi' > pi) - tau KL(pi', mu) + tau KL(pi, mu) - 1/2``.
    It is 0 at the Nash policy and above 0 elsewhere.

    Parameters
    ----------
    preference : ArrayLike
        Preference matrix, shape ``(n, n)``, with ``P + P.T = 1``.
    policy : ArrayLike
        Probability of each answer, shape ``(n,)``.
    reference : ArrayLike, optional
        Probability of each answer under the reference policy ``mu``, shape ``(n,)``. Required if
        ``tau`` is above 0.
    tau : float, default 0.0
        Strength of the KL regularisation, in win rate per nat.

    Raises
    ------
    InvalidValues
        If the matrix is no preference matrix, or a regularisation has no reference.

    References
    ----------
    Munos et al. (2023), "Nash learning from human feedback", section 4.
    """
    table, mu = _validate(preference, reference, tau)
    pi = finite_values(policy, "policy")
    wins = table @ pi
    if mu is None:
        return float(wins.max() - 0.5)
    best = tau * logsumexp(wins / tau, b=mu)
    return float(best + tau * rel_entr(pi, mu).sum() - 0.5)


def nash(preference: ArrayLike, *, reference: ArrayLike | None = None, tau: float = 0.0) -> Floats:
    """Return a Nash policy: no policy wins against it more than half of the time, shape ``(n,)``.

    Without a regularisation, a linear program finds one of possibly several. With one, the Nash
    policy is the unique fixed point of ``pi proportional to mu exp(P(. > pi) / tau)``, found by
    Powell's method along a sequence of weaker and weaker regularisations.

    Parameters
    ----------
    preference, reference, tau
        See :func:`exploitability`.

    Raises
    ------
    InvalidValues
        If the matrix is no preference matrix, or the regularisation has no reference or is too
        weak for the computation.
    """
    table, mu = _validate(preference, reference, tau)
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
        solution = root(
            lambda x, s=strength: x - log_softmax(base + table @ softmax(x) / s),
            logits,
            options={"xtol": 1e-14},
        )
        logits = solution.x
    policy = np.asarray(softmax(logits))
    if not exploitability(table, policy, reference=mu, tau=tau) < 1e-6:
        raise InvalidValues(
            f"No Nash policy was found at tau {tau:g}",
            "Use a larger tau, or 0 for the game without a regularisation",
        )
    return policy


def _validate(
    preference: ArrayLike, reference: ArrayLike | None, tau: float
) -> tuple[Floats, Floats | None]:
    table = float_array(preference, "preference")
    if table.ndim != 2 or table.shape[0] != table.shape[1] or not np.allclose(table + table.T, 1):
        raise InvalidValues(
            f"A table of shape {table.shape} is no preference matrix",
            "Give P(a > b) for each two answers, with P(a > b) + P(b > a) = 1",
        )
    if tau == 0:
        return table, None
    if reference is None:
        raise InvalidValues(
            f"A regularisation of {tau:g} has no reference policy",
            "Pass reference=, the probability of each answer under it",
        )
    return table, finite_values(reference, "reference")
