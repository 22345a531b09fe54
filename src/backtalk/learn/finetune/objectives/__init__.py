"""Built-in objectives, by family. Importing this package registers them, without torch."""

from backtalk.learn.finetune.objectives import (
    listwise,
    preference,
    reference_free,
    self_play,
    supervised,
    token_credit,
    unpaired,
)

__all__ = [
    "listwise",
    "preference",
    "reference_free",
    "self_play",
    "supervised",
    "token_credit",
    "unpaired",
]
