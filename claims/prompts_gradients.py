"""Claims about prompts that are revised by textual gradients."""

# NOTE to the author of this file: another helper overwrote your uncommitted version by mistake at
# 13:43. The claim below is the one of the last commit; please write your version again.

from __future__ import annotations

from collections.abc import Mapping

from claims.claim import above, claim
from claims.learning import open_trial
from claims.prompts import gain


@claim(
    system="TextGrad",
    paper="Yuksekgonul et al. (2024), TextGrad: automatic 'differentiation' via text, table 3",
    method="textgrad",
    world="lists",
    says="A prompt that is revised by criticism of batches of its answers gets better answers.",
    expected=[above("gain", "utility: TextGrad less no instruction", "accuracy 0.78 to 0.92")],
)
def textgrad(seed: int) -> Mapping[str, float]:
    """Revise the prompt by critiques and edits of people who have two rules."""
    with open_trial("lists", seed) as trial:
        return {"gain": gain(trial, "textgrad", "critique", "edit")}
