"""Every error a user of Backtalk can meet: what is wrong, and what to do about it."""

from __future__ import annotations


class BacktalkError(Exception):
    """Something that the caller can mend.

    Parameters
    ----------
    what : str
        What is wrong, naming the offending thing.
    mend : str, default ""
        What to do about it, as a sentence. Shown after ``what``.
    """

    def __init__(self, what: str, mend: str = "") -> None:
        super().__init__(what, mend)
        self.what = what
        self.mend = mend

    def __str__(self) -> str:
        return f"{self.what}. {self.mend}" if self.mend else self.what


class RecordError(BacktalkError, ValueError):
    """A record, or a row that was to become one, that makes no sense."""


class UnknownName(BacktalkError, LookupError):
    """A name that stands for nothing: a format, a method, an option, a policy."""

    @classmethod
    def among(cls, what: str, name: str, known: list[str] | tuple[str, ...]) -> UnknownName:
        """Build the error for ``name``, listing the ``known`` ones, the closest first."""
        import difflib  # noqa: PLC0415 - only needed once something has gone wrong

        close = difflib.get_close_matches(name, known, n=1)
        hint = f"Did you mean {close[0]!r}? " if close else ""
        listed = ", ".join(known) if known else "none"
        return cls(f"There is no {what} {name!r}", f"{hint}Known: {listed}")


class NotFound(BacktalkError, LookupError):
    """A record that the store does not hold."""


class Conflict(BacktalkError):
    """An id or idempotency key that is already taken by different content."""


class MissingExtra(BacktalkError, ImportError):
    """A feature whose optional packages are not installed."""

    @classmethod
    def named(cls, extra: str, feature: str) -> MissingExtra:
        """Build the error for a ``feature`` that needs ``backtalk[extra]``."""
        return cls(
            f"{feature} needs packages that are not installed",
            f"Install them with: pip install 'backtalk[{extra}]'",
        )
