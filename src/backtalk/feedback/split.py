"""Which prompts are kept for the final word, and which may be learned from."""

from __future__ import annotations

from hashlib import blake2b
from typing import Literal

from backtalk.errors import BacktalkError

Split = Literal["train", "held-out"]


def split_of(key: str, *, held_out: float = 0.2, salt: str = "backtalk") -> Split:
    """Say on which side of the split a prompt lies, by its key alone.

    The answer depends on nothing but the arguments: not on the other prompts, their order, or
    the process. A prompt that is held out at one share is held out at every larger one.

    Parameters
    ----------
    key : str
        What is split: a prompt's id or text. Give the same key for prompts that share a cause.
    held_out : float, default 0.2
        The share that is held out, in [0, 1].
    salt : str, default "backtalk"
        Another salt gives another split.
    """
    if not 0 <= held_out <= 1:
        raise BacktalkError(f"held_out is {held_out}", "Give a share in [0, 1]")
    digest = blake2b(f"{salt}\0{key}".encode(), digest_size=8).digest()
    return "held-out" if int.from_bytes(digest) < held_out * 2.0**64 else "train"
