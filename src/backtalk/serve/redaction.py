"""Redaction of personal data before it is stored.

Built-in redactions preserve the length of the text, so that the offsets of marked spans stay valid.

>>> redactor = Redactor(["email", "card"])
>>> redactor.text("Write to bo@example.org")
'Write to ••••••••••••••'
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

from backtalk.errors import BacktalkError, UnknownName
from backtalk.feedback import AnyFeedback, Interaction, parse_feedback, parse_interaction

Redaction = Callable[[str], str]
"""Function from a text to the redacted text."""

MARK = "•"

_EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]++@[\w-]++(?:\.[\w-]++)++")
_PHONE = re.compile(
    r"(?<![\w.])(?!\d{4}-\d\d-\d\d(?!\d))(?:\+|00)?\(?\d(?:[\s()./-]{0,2}\d){6,14}(?!\w)"
)
_CARD = re.compile(r"(?<!\d)\d(?:[ -]?\d){12,18}(?!\d)")


def _mask(match: re.Match[str]) -> str:
    return MARK * len(match.group())


def email(text: str) -> str:
    """Redact e-mail addresses."""
    return _EMAIL.sub(_mask, text)


def phone(text: str) -> str:
    """Redact phone numbers: 7 to 15 digits and their separators.

    >>> phone("Call +44 20 7946 0018 at 12:30, in 2026.")
    'Call •••••••••••••••• at 12:30, in 2026.'
    """
    return _PHONE.sub(_mask, text)


def card(text: str) -> str:
    """Redact card numbers: 13 to 19 digits with a valid Luhn check digit.

    >>> card("4111 1111 1111 1111, not 4111 1111 1111 1112")
    '•••••••••••••••••••, not 4111 1111 1111 1112'
    """
    return _CARD.sub(lambda match: _mask(match) if _is_luhn(match.group()) else match.group(), text)


def _is_luhn(number: str) -> bool:
    digits = [int(letter) for letter in reversed(number) if letter.isdigit()]
    doubled = [
        digit if i % 2 == 0 else sum(divmod(2 * digit, 10)) for i, digit in enumerate(digits)
    ]
    return sum(doubled) % 10 == 0


BUILT_IN: dict[str, Redaction] = {"email": email, "phone": phone, "card": card}

_UNREDACTED_FIELDS = frozenset(
    {
        "id", "interaction", "kind", "role", "annotator", "time", "response", "a", "b", "tiers",
        "chosen", "shown", "verdict", "scale", "aspect", "user", "users", "policy", "session",
        "parent", "model", "tool_call_id", "type", "act", "within", "label", "data", "file_data",
        "entry", "prompt_version",
    }
)  # fmt: skip
"""Fields that hold ids, enumerations, images or audio, but no prose."""

_DATA_URL = "data:"
"""Prefix of URLs that contain an image."""


class Redactor:
    """Applies redactions to records.

    Parameters
    ----------
    names : sequence of str, default ()
        Names of redactions, applied in order: ``email``, ``phone``, ``card``, or
        ``package.module:function`` for a function from a text to the redacted text.

    Raises
    ------
    UnknownName
        If there is no redaction of a name.
    BacktalkError
        If a function cannot be imported.
    """

    def __init__(self, names: Sequence[str] = ()) -> None:
        self._redactions = [_find_redaction(name) for name in names]

    def text(self, text: str) -> str:
        """Return the redacted text."""
        for redaction in self._redactions:
            text = redaction(text)
        return text

    def interaction(self, interaction: Interaction) -> Interaction:
        """Return the redacted interaction. Its user is kept, so that it can be purged."""
        if not self._redactions:
            return interaction
        fields = interaction.to_dict()
        for name in ("prompt", "responses", "metadata"):
            if name in fields:
                fields[name] = self._redact(fields[name])
        return parse_interaction(fields)

    def feedback(self, item: AnyFeedback) -> AnyFeedback:
        """Return the redacted feedback. Its annotator is kept, so that it can be purged."""
        if not self._redactions:
            return item
        return parse_feedback(self._redact(item.to_dict()))

    def _redact(self, value: Any) -> Any:
        if isinstance(value, str):
            return value if value.startswith(_DATA_URL) else self.text(value)
        if isinstance(value, list):
            return [self._redact(item) for item in value]
        if isinstance(value, dict):
            return {k: v if k in _UNREDACTED_FIELDS else self._redact(v) for k, v in value.items()}
        return value


def _find_redaction(name: str) -> Redaction:
    if name in BUILT_IN:
        return BUILT_IN[name]
    module, colon, function = name.partition(":")
    if not colon:
        raise UnknownName.among("redaction", name, [*BUILT_IN, "package.module:function"])
    try:
        value = getattr(import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise BacktalkError(
            f"The redaction {name!r} cannot be found: {error}",
            "Use the form package.module:function, with a module that can be imported",
        ) from error
    if not callable(value):
        raise BacktalkError(
            f"The redaction {name!r} is not a function", "Name a function of one text"
        )
    redaction: Redaction = value
    return redaction
