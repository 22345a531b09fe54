"""Log-probabilities of response tokens under the reference, cached on disk."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from backtalk.learn.finetune.logprobs import LogProbModel
from backtalk.learn.finetune.trees import PromptTree, micro_batches

_WRITE_SECONDS = 5.0
"""Seconds between writes to disk."""


class ReferenceLogProbs:
    """Cache of the token log-probabilities of one set of weights.

    The key of an entry is the weights, the number format, and the exact tokens of the prompt and
    the response. Entries are therefore shared by runs, data sets and learning rates.

    Parameters
    ----------
    path : Path or None
        SQLite file of the cache; ``None`` for a cache in memory.
    weights : str
        Identifier of the weights and the number format.
    now : Callable[[], float], default time.monotonic
        Clock, in seconds.
    """

    def __init__(
        self, path: Path | None, weights: str, *, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._now = now
        self._weights = weights
        self._memory: dict[bytes, NDArray[np.float32]] = {}
        self.computed = 0
        """Number of responses that were computed because the cache had no entry."""
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
        self._database = sqlite3.connect(":memory:" if path is None else path, timeout=60)
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute(
            "CREATE TABLE IF NOT EXISTS token_logprobs "
            "(weights TEXT, tokens BLOB, logprobs BLOB, PRIMARY KEY (weights, tokens)) "
            "WITHOUT ROWID"
        )

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def missing(self, trees: Sequence[PromptTree]) -> list[PromptTree]:
        """Return trees of the responses and KL anchors that have no entry yet."""
        results = {}
        for tree in trees:
            responses = {}
            for response in (*tree.responses, *tree.kl_anchors):
                key = tree.key(response)
                if key not in self._memory and not self._read(key):
                    responses[key] = response
            if responses:
                results[frozenset(responses)] = tree.with_responses(tuple(responses.values()))
        return list(results.values())

    def compute(
        self,
        model: LogProbModel,
        trees: Sequence[PromptTree],
        *,
        batch_tokens: int,
        context: Callable[[], torch.autocast],
        report: Callable[[int], None],
    ) -> None:
        """Compute the missing entries of all responses and KL anchors of trees.

        Entries are written to the file every few seconds, and when the computation is interrupted.

        Parameters
        ----------
        model : LogProbModel
            Reference model.
        trees : sequence of PromptTree
            Training data.
        batch_tokens : int
            Maximum number of tokens of a micro-batch.
        context : Callable[[], torch.autocast]
            Function that returns the autocast context of a forward pass.
        report : Callable[[int], None]
            Progress callback with the number of tokens that were computed, of those of
            :meth:`missing`.
        """
        missing = self.missing(trees)
        training = model.training
        model.eval()
        tokens = 0
        entries: list[tuple[bytes, NDArray[np.float32]]] = []
        written = self._now()
        try:
            for batch in micro_batches(missing, batch_tokens, shared=model.shares_prompts):
                with torch.no_grad(), context():
                    values = model.score(batch).values.float().cpu()
                entries += _split(batch, values)
                tokens += sum(tree.size for tree in batch)
                if self._now() - written >= _WRITE_SECONDS:
                    self._write(entries)
                    entries, written = [], self._now()
                report(tokens)
        finally:
            self._write(entries)
            model.train(training)

    def lookup(self, trees: Sequence[PromptTree], device: torch.device) -> Tensor:
        """Return the log-probabilities of the N response tokens of trees, shape ``(N,)``.

        Raises
        ------
        KeyError
            If :meth:`compute` was not called for a response.
        """
        results = [
            self._memory[tree.key(response)] for tree in trees for response in tree.responses
        ]
        return torch.from_numpy(np.concatenate(results)).to(device)

    def _read(self, key: bytes) -> bool:
        """Load an entry from disk; return false if there is none."""
        with closing(
            self._database.execute(
                "SELECT logprobs FROM token_logprobs WHERE weights = ? AND tokens = ?",
                (self._weights, key),
            )
        ) as rows:
            row = rows.fetchone()
        if row is not None:
            self._memory[key] = np.frombuffer(row[0], dtype=np.float32)
        return row is not None

    def _write(self, entries: list[tuple[bytes, NDArray[np.float32]]]) -> None:
        self._memory.update(entries)
        self.computed += len(entries)
        with self._database:
            self._database.executemany(
                "INSERT OR REPLACE INTO token_logprobs VALUES (?, ?, ?)",
                [(self._weights, key, values.tobytes()) for key, values in entries],
            )


def _split(trees: Sequence[PromptTree], values: Tensor) -> list[tuple[bytes, NDArray[np.float32]]]:
    """Return the values of each response with its key."""
    responses = [(tree, response) for tree in trees for response in tree.responses]
    parts = torch.split(values, [len(response.tokens) for _, response in responses])
    return [
        (tree.key(response), part.numpy().copy())
        for (tree, response), part in zip(responses, parts, strict=True)
    ]
