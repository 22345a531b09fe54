"""What is blackened before anything is stored: e-mail addresses, phone and card numbers, or more.

A built-in redaction keeps the length of a text, so that marked spans and steps stay where they are.

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
"""Takes a text and returns it without what must not be stored."""

MARK = "•"

_EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]++@[\w-]++(?:\.[\w-]++)++")
_PHONE = re.compile(
    r"(?<![\w.])(?!\d{4}-\d\d-\d\d(?!\d))(?:\+|00)?\(?\d(?:[\s()./-]{0,2}\d){6,14}(?!\w)"
)
_CARD = re.compile(r"(?<!\d)\d(?:[ -]?\d){12,18}(?!\d)")


def _marked(found: re.Match[str]) -> str:
    return MARK * len(found.group())


def email(text: str) -> str:
    """Blacken e-mail addresses."""
    return _EMAIL.sub(_marked, text)


def phone(text: str) -> str:
    """Blacken what looks like a phone number: 7 to 15 digits, with what stands between them.

    >>> phone("Call +44 20 7946 0018 at 12:30, in 2026.")
    'Call •••••••••••••••• at 12:30, in 2026.'
    """
    return _PHONE.sub(_marked, text)


def card(text: str) -> str:
    """Blacken card numbers: 13 to 19 digits whose last one checks the others (Luhn).

    >>> card("4111 1111 1111 1111, not 4111 1111 1111 1112")
    '•••••••••••••••••••, not 4111 1111 1111 1112'
    """
    return _CARD.sub(lambda found: _marked(found) if _luhn(found.group()) else found.group(), text)


def _luhn(number: str) -> bool:
    digits = [int(letter) for letter in reversed(number) if letter.isdigit()]
    doubled = [
        digit if i % 2 == 0 else sum(divmod(2 * digit, 10)) for i, digit in enumerate(digits)
    ]
    return sum(doubled) % 10 == 0


BUILT_IN: dict[str, Redaction] = {"email": email, "phone": phone, "card": card}

_KEPT = frozenset(
    {
        "id", "interaction", "kind", "role", "annotator", "time", "response", "a", "b", "tiers",
        "chosen", "shown", "verdict", "scale", "aspect", "user", "users", "policy", "session",
        "parent", "model", "tool_call_id", "type", "act", "within", "label", "data", "file_data",
    }
)  # fmt: skip
"""Fields that say what belongs to what, or hold an image or a sound; their texts are no prose."""

_DATA = "data:"
"""How the address of an image begins that is the image itself."""


class Redactor:
    """Blackens records.

    Parameters
    ----------
    names : sequence of str, default ()
        ``email``, ``phone``, ``card``, or ``package.module:function`` for one of your own, which
        takes a text and returns it without what must not be stored. They are applied in order.

    Raises
    ------
    UnknownName
        If there is none of a name.
    BacktalkError
        If a function cannot be found.
    """

    def __init__(self, names: Sequence[str] = ()) -> None:
        self._redactions = [_redaction(name) for name in names]

    def text(self, text: str) -> str:
        """Return a text as it may be stored."""
        for redaction in self._redactions:
            text = redaction(text)
        return text

    def interaction(self, interaction: Interaction) -> Interaction:
        """Return an interaction as it may be stored. Who asked stays, so that it can be purged."""
        if not self._redactions:
            return interaction
        fields = interaction.to_dict()
        for name in ("prompt", "responses", "metadata"):
            if name in fields:
                fields[name] = self._value(fields[name])
        return parse_interaction(fields)

    def feedback(self, item: AnyFeedback) -> AnyFeedback:
        """Return feedback as it may be stored. Who gave it stays, so that it can be purged."""
        if not self._redactions:
            return item
        return parse_feedback(self._value(item.to_dict()))

    def _value(self, value: Any) -> Any:
        if isinstance(value, str):
            return value if value.startswith(_DATA) else self.text(value)
        if isinstance(value, list):
            return [self._value(item) for item in value]
        if isinstance(value, dict):
            return {k: v if k in _KEPT else self._value(v) for k, v in value.items()}
        return value


def _redaction(name: str) -> Redaction:
    if name in BUILT_IN:
        return BUILT_IN[name]
    module, colon, function = name.partition(":")
    if not colon:
        raise UnknownName.among("redaction", name, [*BUILT_IN, "package.module:function"])
    try:
        result = getattr(import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise BacktalkError(
            f"The redaction {name!r} cannot be found: {error}",
            "Write it as package.module:function, of a module that can be imported here",
        ) from error
    if not callable(result):
        raise BacktalkError(f"The redaction {name!r} is not a function", "Name a function")
    redaction: Redaction = result
    return redaction
