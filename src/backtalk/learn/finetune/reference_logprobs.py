"""What the reference says of each response token: computed once, kept on disk."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from backtalk.learn.finetune.logprobs import LogProbModel
from backtalk.learn.finetune.trees import PromptTree, ResponseTokens, micro_batches

_WRITE_AFTER = 64
"""How many parts are computed between writes to disk."""


class ReferenceLogProbs:
    """Log-probabilities of one set of weights, token by token.

    The key is what was computed: the weights, the number format, and the exact tokens of the
    prompt and the response. What is masked or cut off is therefore part of it, and nothing else
    is: not the data set's name, not the learning rate, not the folder of the run.

    Parameters
    ----------
    path : Path or None
        A file to keep them in; nothing is kept where it is left out.
    weights : str
        What tells these weights and this number format from others.
    """

    def __init__(self, path: Path | None, weights: str) -> None:
        self._weights = weights
        self._found: dict[bytes, NDArray[np.float32]] = {}
        self.computed = 0
        """How many responses were computed, and not found."""
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
        self._store = sqlite3.connect(":memory:" if path is None else path, timeout=60)
        self._store.execute("PRAGMA journal_mode=WAL")
        self._store.execute(
            "CREATE TABLE IF NOT EXISTS log_probabilities "
            "(weights TEXT, tokens BLOB, found BLOB, PRIMARY KEY (weights, tokens)) WITHOUT ROWID"
        )

    def close(self) -> None:
        """Close the file."""
        self._store.close()

    def compute(
        self,
        scorer: LogProbModel,
        trees: Sequence[PromptTree],
        *,
        batch_tokens: int,
        context: Callable[[], torch.autocast],
        report: Callable[[int], None],
    ) -> None:
        """Compute what is missing of all responses and anchors of trees.

        Parameters
        ----------
        scorer : LogProbModel
            The reference.
        trees : sequence of PromptTree
            Of which trees.
        batch_tokens : int
            How many tokens are worked on at once.
        context : Callable[[], torch.autocast]
            Gives the number format that the products are in.
        report : Callable[[int], None]
            Told how many trees are done.
        """
        wanted = [tree.only((*tree.branches, *tree.kl_anchors)) for tree in trees]
        missing = list(self._missing(wanted))
        training = scorer.training
        scorer.eval()
        done = len(trees) - len(missing)
        report(done)
        fresh: list[tuple[bytes, NDArray[np.float32]]] = []
        for count, batch in enumerate(
            micro_batches(missing, batch_tokens, shared=scorer.shares), 1
        ):
            with torch.no_grad(), context():
                values = scorer.score(batch).values.float().cpu()
            fresh += _split(batch, values)
            if count % _WRITE_AFTER == 0:
                self._keep(fresh)
                fresh = []
            done += len(batch)
            report(done)
        self._keep(fresh)
        scorer.train(training)

    def lookup(self, trees: Sequence[PromptTree], device: torch.device) -> Tensor:
        """Return the log-probabilities of the response tokens of trees, in their order, ``(N,)``.

        Raises
        ------
        KeyError
            For a response that :meth:`compute` was not given.
        """
        results = [self._found[tree.key(branch)] for tree in trees for branch in tree.branches]
        return torch.from_numpy(np.concatenate(results)).to(device)

    def _missing(self, trees: Iterable[PromptTree]) -> Iterator[PromptTree]:
        for tree in trees:
            lacking: dict[bytes, ResponseTokens] = {}
            for branch in tree.branches:
                key = tree.key(branch)
                if key not in self._found and not self._read(key):
                    lacking[key] = branch
            if lacking:
                yield tree.only(tuple(lacking.values()))

    def _read(self, key: bytes) -> bool:
        with closing(
            self._store.execute(
                "SELECT found FROM log_probabilities WHERE weights = ? AND tokens = ?",
                (self._weights, key),
            )
        ) as rows:
            row = rows.fetchone()
        if row is not None:
            self._found[key] = np.frombuffer(row[0], dtype=np.float32)
        return row is not None

    def _keep(self, fresh: list[tuple[bytes, NDArray[np.float32]]]) -> None:
        self._found.update(fresh)
        self.computed += len(fresh)
        with self._store:
            self._store.executemany(
                "INSERT OR REPLACE INTO log_probabilities VALUES (?, ?, ?)",
                [(self._weights, key, result.tobytes()) for key, result in fresh],
            )


def _split(trees: Sequence[PromptTree], values: Tensor) -> list[tuple[bytes, NDArray[np.float32]]]:
    branches = [(tree, branch) for tree in trees for branch in tree.branches]
    parts = torch.split(values, [len(branch.tokens) for _, branch in branches])
    return [
        (tree.key(branch), part.numpy().copy())
        for (tree, branch), part in zip(branches, parts, strict=True)
    ]
