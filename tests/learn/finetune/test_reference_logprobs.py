"""Reference log-probabilities are computed once for each response."""

import sqlite3
from contextlib import closing, nullcontext

import pytest
import torch

from backtalk.learn.finetune import PromptTree, ResponseTokens, TrainingConfig
from backtalk.learn.finetune.logprobs import LogProbModel
from backtalk.learn.finetune.reference_logprobs import ReferenceLogProbs
from backtalk.learn.finetune.trainer import autocast_factory
from tests.learn.finetune.small import model, trees

MODEL = LogProbModel(model())


def compute(path, forest, *, weights="w", logprob_model=MODEL):
    cache = ReferenceLogProbs(path, weights)
    done = []
    cache.compute(
        logprob_model, forest, batch_tokens=200,
        context=autocast_factory(logprob_model, TrainingConfig()), report=done.append,
    )  # fmt: skip
    assert done == sorted(done)
    return cache


def test_values_are_those_of_the_reference(tmp_path):
    forest = trees(12, responses=3)
    cache = compute(tmp_path / "r.db", forest)
    with torch.no_grad():
        expected = MODEL.score(forest).values
    torch.testing.assert_close(
        cache.lookup(forest, expected.device), expected, atol=1e-5, rtol=1e-5
    )


def test_what_is_on_disk_is_not_computed_again(tmp_path):
    forest = trees(10)
    assert compute(tmp_path / "r.db", forest).computed == 20
    again = compute(tmp_path / "r.db", forest[::-1])
    assert again.computed == 0
    fresh = trees(3, seed=5)
    more = compute(tmp_path / "r.db", [*forest, *fresh])
    assert more.computed == 6


@pytest.mark.parametrize("change", ["weights", "cut", "boundary"])
def test_what_changes_a_value_is_computed_again(tmp_path, change):
    forest = [PromptTree((5, 6, 7), (ResponseTokens((8, 9, 1)),))]
    compute(tmp_path / "r.db", forest)
    if change == "weights":
        assert compute(tmp_path / "r.db", forest, weights="other").computed == 1
        return
    other = {
        "cut": PromptTree((5, 6, 7), (ResponseTokens((8, 9)),)),
        "boundary": PromptTree((5, 6), (ResponseTokens((7, 8, 9, 1)),)),
    }[change]
    assert compute(tmp_path / "r.db", [other]).computed == 1


class Clock:
    """Clock that advances by a number of seconds at each look."""

    def __init__(self, seconds):
        self.now = 0.0
        self._seconds = seconds

    def __call__(self):
        self.now += self._seconds
        return self.now


class Interrupted(LogProbModel):
    """Model that is interrupted in a forward pass."""

    def __init__(self, passes):
        super().__init__(model())
        self.passes = passes

    def score(self, trees, top_k=0):
        self.passes -= 1
        if self.passes < 0:
            raise KeyboardInterrupt
        return super().score(trees, top_k)


def on_disk(path):
    with closing(sqlite3.connect(path)) as database:
        return database.execute("SELECT count(*) FROM token_logprobs").fetchone()[0]


@pytest.mark.parametrize(("seconds", "written"), [(3.0, "some"), (0.01, "none")])
def test_entries_are_written_as_time_passes(tmp_path, seconds, written):
    path = tmp_path / "r.db"
    forest = trees(30)
    cache = ReferenceLogProbs(path, "w", now=Clock(seconds))
    seen = []
    cache.compute(
        MODEL, forest, batch_tokens=100, context=nullcontext,
        report=lambda _: seen.append(on_disk(path)),
    )  # fmt: skip
    assert len(seen) > 4
    assert (0 < seen[2] < seen[-2]) if written == "some" else set(seen) == {0}
    assert on_disk(path) == 60


def test_an_interrupted_computation_goes_on_where_it_was(tmp_path):
    path = tmp_path / "r.db"
    forest = trees(30)
    with pytest.raises(KeyboardInterrupt):
        compute(path, forest, logprob_model=Interrupted(2))
    there = on_disk(path)
    assert 0 < there < 60
    again = ReferenceLogProbs(path, "w")
    left = sum(len(tree.responses) for tree in again.missing(forest))
    assert left == 60 - there
    assert compute(path, forest).computed == left


def test_progress_is_in_tokens_of_what_is_missing(tmp_path):
    forest = trees(12)
    compute(tmp_path / "r.db", forest[:5])
    cache = ReferenceLogProbs(tmp_path / "r.db", "w")
    missing = cache.missing(forest)
    assert missing == [tree.with_responses(tree.responses) for tree in forest[5:]]
    tokens = []
    cache.compute(MODEL, forest, batch_tokens=60, context=nullcontext, report=tokens.append)
    assert tokens == sorted(tokens)
    assert tokens[-1] == sum(tree.size for tree in missing)
    assert cache.missing(forest) == []


def test_masks_do_not_change_the_key(tmp_path):
    plain = PromptTree((5, 6, 7), (ResponseTokens((8, 9, 1)),))
    compute(tmp_path / "r.db", [plain])
    masked = PromptTree(
        (5, 6, 7), (ResponseTokens((8, 9, 1), weights=(0.0, 1.0, 1.0)),), weight=3.0
    )
    cache = compute(tmp_path / "r.db", [masked])
    assert cache.computed == 0
    assert len(cache.lookup([masked], torch.device("cpu"))) == 3


def test_log_probabilities_of_kl_anchors_are_computed():
    tree = PromptTree((5, 6), (ResponseTokens((7, 1)),), kl_anchors=(ResponseTokens((8, 9, 1)),))
    cache = compute(None, [tree])
    assert cache.computed == 2
    assert len(cache.lookup([tree.with_responses(tree.kl_anchors)], torch.device("cpu"))) == 3


def test_a_response_that_was_not_computed_is_an_error():
    with pytest.raises(KeyError):
        compute(None, trees(2)).lookup(trees(1, seed=8), torch.device("cpu"))
