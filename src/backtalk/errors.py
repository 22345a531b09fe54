"""Errors that Backtalk raises, each with a problem and a remedy."""

from __future__ import annotations


class BacktalkError(Exception):
    """Base class of all errors that the caller can fix.

    Parameters
    ----------
    what : str
        Problem, with the name of the offending item.
    mend : str, default ""
        Remedy, as a sentence, shown after ``what``.
    """

    def __init__(self, what: str, mend: str = "") -> None:
        super().__init__(what, mend)
        self.what = what
        self.mend = mend

    def __str__(self) -> str:
        return f"{self.what}. {self.mend}" if self.mend else self.what


class RecordError(BacktalkError, ValueError):
    """Invalid record, or invalid row of an import."""


class UnknownName(BacktalkError, LookupError):
    """Unknown name of a format, a method, an option, a policy or the like."""

    @classmethod
    def among(cls, kind: str, name: str, known: list[str] | tuple[str, ...]) -> UnknownName:
        """Build the error for a name, with the closest known name and a list of all.

        Parameters
        ----------
        kind : str
            Kind of the item, such as ``"format"``.
        name : str
            Unknown name.
        known : list of str or tuple of str
            Names that exist.
        """
        import difflib  # noqa: PLC0415 - only needed for an error

        close = difflib.get_close_matches(name, known, n=1)
        hint = f"Did you mean {close[0]!r}? " if close else ""
        listed = ", ".join(known) if known else "none"
        return cls(f"There is no {kind} {name!r}", f"{hint}Known: {listed}")


class NotFound(BacktalkError, LookupError):
    """Record, file or other item that does not exist."""


class Conflict(BacktalkError):
    """Id, name or idempotency key that is already used for different content."""


class MissingExtra(BacktalkError, ImportError):
    """Feature whose optional packages are not installed."""

    @classmethod
    def named(cls, extra: str, feature: str) -> MissingExtra:
        """Build the error for a feature that needs the extra ``backtalk[extra]``."""
        return cls(
            f"{feature} needs packages that are not installed",
            f"Install them with: pip install 'backtalk[{extra}]'",
        )
