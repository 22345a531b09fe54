"""METEOR, which the claims about supervised fine-tuning use."""

import pytest
from claims.supervised import meteor


def test_meteor_is_an_f_mean_with_weight_nine_tenths_on_recall():
    assert meteor("one two", "Two, one.") == 1
    assert meteor("one", "two") == meteor("", "two") == 0
    # Two of three words are in the second text, and two of its four words in the first.
    precision, recall = 2 / 3, 2 / 4
    assert meteor("a b c", "a b d e") == pytest.approx(1 / (0.1 / precision + 0.9 / recall))
    assert meteor("a a a", "a") == pytest.approx(1 / (0.1 / (1 / 3) + 0.9))
