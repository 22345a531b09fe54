"""What the claims about learning by imitation measure with."""

import pytest
from claims.supervised import meteor


def test_meteor_is_an_f_mean_of_which_recall_is_nine_tenths():
    assert meteor("one two", "Two, one.") == 1
    assert meteor("one", "two") == meteor("", "two") == 0
    # Of three words two are in the other text, of four words as many.
    precision, recall = 2 / 3, 2 / 4
    assert meteor("a b c", "a b d e") == pytest.approx(1 / (0.1 / precision + 0.9 / recall))
    assert meteor("a a a", "a") == pytest.approx(1 / (0.1 / (1 / 3) + 0.9))
