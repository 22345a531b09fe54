"""What can go wrong between a request and its completion, and what to do about each."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, ClassVar

from backtalk.errors import BacktalkError

if TYPE_CHECKING:
    from backtalk.models.protocol import Completion


class ModelError(BacktalkError):
    """A request that a model did not answer.

    Parameters
    ----------
    what, mend
        As in every :class:`~backtalk.errors.BacktalkError`; kept to one line each.
    may_have_cost : bool, default False
        Whether the work may have been done, and be billed, although no answer came.
    """

    stops_batch: ClassVar[bool] = True
    """Whether the other requests of a batch would fail likewise, so that those not yet sent are
    not sent."""

    def __init__(self, what: str, mend: str = "", *, may_have_cost: bool = False) -> None:
        super().__init__(" ".join(what.split()), " ".join(mend.split()))
        self.may_have_cost = may_have_cost
        self.completions: tuple[Completion | None, ...] = ()
        """What was answered of the batch, one entry a request; empty where nothing was."""


class AuthenticationError(ModelError):
    """A key that is missing, wrong, or not allowed to use the model."""


class UnknownModel(ModelError):
    """An address, or a model at that address, that does not exist."""


class RateLimited(ModelError):
    """Too many calls, still after all retries; or a quota that is used up."""


class ConnectionFailed(ModelError):
    """A server that does not answer, or answers with its own failure, still after all retries."""


class RequestTimeout(ModelError):
    """No answer in time, still after all retries."""


class InvalidResponse(ModelError):
    """An answer that does not keep to the protocol."""

    stops_batch = False


class BadRequest(ModelError):
    """A request that the model will not take: an option that it does not know, a bad value."""

    stops_batch = False


class ContextTooLong(ModelError):
    """A prompt that does not fit into the model's context window."""

    stops_batch = False


class TemplateError(ModelError):
    """A chat template that is missing, or that breaks the conversation."""


class NotRecorded(ModelError, LookupError):
    """A completion that a recording does not hold."""

    stops_batch = False


class OfflineError(ModelError):
    """A call to a real endpoint while those are forbidden."""


class MissingPrice(ModelError):
    """A model whose price is not known, where money is counted."""


class BudgetExceeded(ModelError):
    """A limit that is reached, or that the next request could overrun.

    Parameters
    ----------
    limit : str
        Which limit: ``"calls"``, ``"tokens"``, ``"money"`` or ``"seconds"``.
    spent : Decimal | float
        How much of it is spent.
    allowed : float
        How much may be spent.
    needed : Decimal | float, default 0
        The most that the next request can take.
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
        next_one = f", and the next request may take {float(needed):g}" if needed else ""
        super().__init__(
            f"The budget of {allowed:g} {limit} is spent: {float(spent):g} are used{next_one}",
            f"Raise the limit of {limit} and run again; with a cache, what was answered is not "
            "paid for twice",
            may_have_cost=may_have_cost,
        )
        self.limit = limit
        self.spent = float(spent)
        self.allowed = float(allowed)
        self.needed = float(needed)
