"""Errors of models."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, ClassVar

from backtalk.errors import BacktalkError

if TYPE_CHECKING:
    from backtalk.models.protocol import Completion


class ModelError(BacktalkError):
    """Request that a model did not answer.

    Parameters
    ----------
    what, mend : str
        Problem and remedy, as in every :class:`~backtalk.errors.BacktalkError`; white space is
        reduced to one line.
    may_have_cost : bool, default False
        If true, the work may have been done and billed although no answer arrived.
    """

    stops_batch: ClassVar[bool] = True
    """True if the other requests of a batch would fail in the same way and are not sent."""

    def __init__(self, what: str, mend: str = "", *, may_have_cost: bool = False) -> None:
        super().__init__(" ".join(what.split()), " ".join(mend.split()))
        self.may_have_cost = may_have_cost
        self.completions: tuple[Completion | None, ...] = ()
        """Completions of the batch, one entry per request; empty if there are none."""


class AuthenticationError(ModelError):
    """Key that is missing, wrong, or not allowed to use the model."""


class MissingAddress(ModelError):
    """Endpoint without an address: prompts are sent nowhere that is not named."""


class UnknownModel(ModelError):
    """Address, or model at that address, that does not exist."""


class UnsupportedModel(ModelError):
    """Local model whose answers would not be those of its own forward pass."""


class RateLimited(ModelError):
    """Too many calls after all retries, or an exhausted quota."""


class ConnectionFailed(ModelError):
    """Server that does not respond, or responds with a server error, after all retries."""


class RequestTimeout(ModelError):
    """No response within the timeout after all retries."""


class InvalidResponse(ModelError):
    """Response that violates the protocol."""

    stops_batch = False


class BadRequest(ModelError):
    """Request that the model rejects: an unknown option, an invalid value."""

    stops_batch = False


class ContextTooLong(ModelError):
    """Prompt that does not fit into the model's context window."""

    stops_batch = False


class TemplateError(ModelError):
    """Chat template that is missing, or that changes the conversation."""


class UnknownToken(TemplateError):
    """Text with a token that the model has no embedding for."""

    stops_batch = False


class NotRecorded(ModelError, LookupError):
    """Completion that a recording does not contain."""

    stops_batch = False


class OfflineError(ModelError):
    """Call to a remote endpoint in offline mode."""


class MissingPrice(ModelError):
    """Model without a price in a run with a money limit."""


class UnlimitedAnswer(ModelError):
    """Request without ``max_tokens`` in a run that limits tokens or money."""


class BudgetExceeded(ModelError):
    """Limit that is reached, or that the next request could exceed.

    Parameters
    ----------
    limit : str
        Name of the limit: ``"calls"``, ``"tokens"``, ``"money"`` or ``"seconds"``.
    spent : Decimal | float
        Amount spent so far.
    allowed : float
        Limit.
    needed : Decimal | float, default 0
        Maximum amount that the next request can use.
    may_have_cost : bool, default False
        If true, the work may have been done and billed although no answer arrived.
    """

    def __init__(
        self,
        limit: str,
        *,
        spent: Decimal | float,
        allowed: float,
        needed: Decimal | float = 0,
        may_have_cost: bool = False,
    ) -> None:
        next_request = f", and the next request may use {float(needed):g}" if needed else ""
        super().__init__(
            f"The budget of {allowed:g} {limit} is too small: {float(needed):g} may be needed"
            if needed and not spent
            else f"The budget of {allowed:g} {limit} is spent: {float(spent):g} are used"
            f"{next_request}",
            f"Raise the limit of {limit} and run again; with a cache, completed requests are not "
            "paid for twice",
            may_have_cost=may_have_cost,
        )
        self.limit = limit
        self.spent = float(spent)
        self.allowed = float(allowed)
        self.needed = float(needed)
