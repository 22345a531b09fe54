import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backtalk.errors import BacktalkError
from backtalk.feedback.split import split_for
from backtalk.stats import InvalidValues, group_folds


@given(st.text(), st.floats(0, 1), st.floats(0, 1))
def test_a_larger_share_holds_out_what_a_smaller_one_does(key, a_share, b_share):
    small, large = sorted((a_share, b_share))
    if split_for(key, held_out=small) == "held-out":
        assert split_for(key, held_out=large) == "held-out"


def test_the_share_is_kept_and_the_salt_matters():
    default_split = [split_for(str(i)) == "held-out" for i in range(5000)]
    salted_split = [split_for(str(i), salt="other") == "held-out" for i in range(5000)]
    assert np.mean(default_split) == pytest.approx(0.2, abs=0.02)
    assert default_split != salted_split


@given(st.lists(st.sampled_from("abcdefgh"), min_size=4), st.integers(0, 9))
def test_folds_keep_keys_together_and_are_of_one_size_but_for_a_key(keys, seed):
    if len(set(keys)) < 2:
        return
    folds = group_folds(keys, 2, seed=seed)
    assert all(len(set(folds[np.array(keys) == key])) == 1 for key in set(keys))
    sizes = np.bincount(folds, minlength=2)
    assert abs(sizes[0] - sizes[1]) <= max(keys.count(key) for key in keys)
    assert (group_folds(keys, 2, seed=seed) == folds).all()


def test_invalid_arguments_are_rejected():
    with pytest.raises(InvalidValues, match="1 different keys"):
        group_folds(["a", "a"], 2)
    with pytest.raises(BacktalkError, match="held_out is 2"):
        split_for("a", held_out=2)


def test_importing_the_statistics_loads_nothing_heavy():
    code = (
        "import sys, backtalk.stats; "
        "print(*({'pandas', 'matplotlib', 'sklearn', 'torch'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
