"""Ids in feedback to which no interaction can arrive any more."""

from __future__ import annotations

import re

from backtalk.errors import NotFound
from backtalk.serve.services import Services
from backtalk.serve.store_connection import UNAVAILABLE

_PLACEHOLDERS = frozenset(
    {"none", "null", "undefined", "nan", "true", "false", "[object object]", "id", "interaction"}
)
"""Texts, in lower case, that programs write for an id that they do not have."""

_OWN = re.compile(r"(?:resp_|msg_)?(?:.+:)?[0-9a-f]{32}(?:-\d+)?")
"""Form of the ids that gateways make."""

_PROVIDERS = (
    "chatcmpl-", "cmpl-", "gen-", "embd-", "resp_", "msg_", "batch_", "file-", "run_", "thread_",
)  # fmt: skip
"""Beginnings of the ids of model providers, which gateways replace."""


def is_placeholder(id_: str) -> bool:
    """Return true if a text stands for a missing id.

    >>> is_placeholder("None"), is_placeholder(" "), is_placeholder("01a2")
    (True, True, False)
    """
    text = id_.strip().lower()
    return not text or text in _PLACEHOLDERS


def is_provider_id(id_: str) -> bool:
    """Return true if an id has the form of those of model providers.

    >>> is_provider_id("chatcmpl-9x"), is_provider_id("resp_" + 32 * "0")
    (True, False)
    """
    return id_.startswith(_PROVIDERS) and _OWN.fullmatch(id_) is None


def is_stored(services: Services, project: str, id_: str) -> bool:
    """Return true if there is an interaction with an id, or if the store cannot tell.

    Parameters
    ----------
    services : Services
        Components of the gateway.
    project : str
        Project of the feedback.
    id_ : str
        Id of the interaction.
    """
    try:
        services.connection.store(project).interaction(id_)
    except NotFound:
        return False
    except UNAVAILABLE:
        return True
    return True
