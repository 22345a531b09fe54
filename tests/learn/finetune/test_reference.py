"""The reference is asked once for each response, and never again for the same one."""

import pytest
import torch

from backtalk.learn.finetune import Branch, Training, Tree
from backtalk.learn.finetune.logprobs import Scorer
from backtalk.learn.finetune.reference_logprobs import ReferenceCache
from backtalk.learn.finetune.trainer import precision_context
from tests.learn.finetune.small import model, trees

SCORER = Scorer(model())


def fill(path, forest, *, weights="w", scorer=SCORER):
    cache = ReferenceCache(path, weights)
    done = []
    cache.fill(
        scorer, forest, batch_tokens=200,
        context=precision_context(scorer, Training()), report=done.append,
    )  # fmt: skip
    assert done[-1] == len(forest)
    return cache


def test_values_are_those_of_the_reference(tmp_path):
    forest = trees(12, responses=3)
    cache = fill(tmp_path / "r.db", forest)
    with torch.no_grad():
        expected = SCORER.score(forest).values
    torch.testing.assert_close(cache.of(forest, expected.device), expected, atol=1e-5, rtol=1e-5)


def test_what_is_on_disk_is_not_computed_again(tmp_path):
    forest = trees(10)
    assert fill(tmp_path / "r.db", forest).computed == 20
    again = fill(tmp_path / "r.db", forest[::-1])
    assert again.computed == 0
    fresh = trees(3, seed=5)
    more = fill(tmp_path / "r.db", [*forest, *fresh])
    assert more.computed == 6


@pytest.mark.parametrize("change", ["weights", "cut", "boundary"])
def test_what_changes_a_value_is_computed_again(tmp_path, change):
    forest = [Tree((5, 6, 7), (Branch((8, 9, 1)),))]
    fill(tmp_path / "r.db", forest)
    if change == "weights":
        assert fill(tmp_path / "r.db", forest, weights="other").computed == 1
        return
    other = {
        "cut": Tree((5, 6, 7), (Branch((8, 9)),)),
        "boundary": Tree((5, 6), (Branch((7, 8, 9, 1)),)),
    }[change]
    assert fill(tmp_path / "r.db", [other]).computed == 1


def test_masks_do_not_change_what_is_kept(tmp_path):
    plain = Tree((5, 6, 7), (Branch((8, 9, 1)),))
    fill(tmp_path / "r.db", [plain])
    masked = Tree((5, 6, 7), (Branch((8, 9, 1), weights=(0.0, 1.0, 1.0)),), weight=3.0)
    cache = fill(tmp_path / "r.db", [masked])
    assert cache.computed == 0
    assert len(cache.of([masked], torch.device("cpu"))) == 3


def test_anchors_are_asked_about_too():
    tree = Tree((5, 6), (Branch((7, 1)),), anchors=(Branch((8, 9, 1)),))
    cache = fill(None, [tree])
    assert cache.computed == 2
    assert len(cache.of([tree.only(tree.anchors)], torch.device("cpu"))) == 3


def test_a_response_that_was_not_asked_about_is_an_error():
    with pytest.raises(KeyError):
        fill(None, trees(2)).of(trees(1, seed=8), torch.device("cpu"))
