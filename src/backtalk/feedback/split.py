"""Split of prompts into a training and a held-out set."""

from __future__ import annotations

from hashlib import blake2b
from typing import Literal

from backtalk.errors import BacktalkError

Split = Literal["train", "held-out"]


def split_for(key: str, *, held_out: float = 0.2, salt: str = "backtalk") -> Split:
    """Return the split that a prompt belongs to, by a hash of its key.

    The result depends only on the arguments: not on other prompts, their order, or the process. A
    prompt that is held out at one share is held out at every larger share.

    Parameters
    ----------
    key : str
        Id or text of the prompt. Prompts with the same key are in the same split.
    held_out : float, default 0.2
        Share of held-out prompts, in [0, 1].
    salt : str, default "backtalk"
        Salt of the hash; another salt gives another split.

    Raises
    ------
    BacktalkError
        If the share is outside [0, 1].
    """
    if not 0 <= held_out <= 1:
        raise BacktalkError(f"held_out is {held_out}", "Give a share in [0, 1]")
    digest = blake2b(f"{salt}\0{key}".encode(), digest_size=8).digest()
    return "held-out" if int.from_bytes(digest) < held_out * 2.0**64 else "train"
