"""Claims on a real language model: methods that put feedback into the words of a prompt.

The small models of the sandbox never read such words before they were trained on them, and cannot
show whether a model's understanding of them is of use. Here SmolLM2-135M-Instruct writes sentences
under instructions; see :mod:`claims.writing`. Papers use models 10 to 1,000 times as large, with
100 times as much feedback. The comparison is theirs: the same prompts, answers and feedback for all
methods. Settings were chosen on seeds 100 and 101, which are not reported.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from backtalk.policy import Policy
from claims.claim import Control, above, claim
from claims.real_trial import MODEL, STEPS, RealTrial, open_real_trial

WORLD = "constrained writing"


# ------------------------------------------------------------------------------ instructions


@claim(
    system="Suri / I-ORPO",
    paper="Pham et al. (2024), Suri: multi-constraint instruction following for long-form text "
    "generation, section 5",
    method="i-orpo",
    world=WORLD,
    model=MODEL,
    says="Learning a text under its instructions against the same text under corrupted ones makes "
    "a model follow instructions better than fine-tuning alone.",
    expected=[
        above("over_sft", "share of the instructions followed: I-ORPO less fine-tuning on the same "
              "texts", "preferred to fine-tuning alone by people"),
        above("over_base", "the same, I-ORPO less the model before"),
    ],
    controls=[
        Control("longer", "fine-tuning for twice as many steps, as I-ORPO computes two rows for "
                "each text", "over_sft"),
        Control("longer_over_base", "fine-tuning for twice as many steps", "over_base"),
    ],
)  # fmt: skip
def i_orpo_real(seed: int) -> Mapping[str, float]:
    """Learn from 120 texts that follow two instructions each: the model's own, mended.

    The paper trains on 10,000 texts of people. Both methods pass over the texts twice; I-ORPO
    computes each text under two prompts, and therefore fine-tuning for twice as long is a control.
    """
    with open_real_trial(seed) as trial:
        drafts = trial.sample_interactions(120, 1)
        texts = trial.demonstrations(
            (item.prompt, trial.world.mend(item.prompt, item.responses[0].text)) for item in drafts
        )
        value = {
            name: _instructions_followed(trial, policy)
            for name, policy in {
                "base": trial.policy,
                "i-orpo": trial.learn("i-orpo", texts),
                "sft": trial.learn("sft", texts),
                "longer": trial.learn("sft", texts, max_steps=2 * STEPS),
            }.items()
        }
        return {
            "over_sft": value["i-orpo"] - value["sft"],
            "over_base": value["i-orpo"] - value["base"],
            "longer": value["longer"] - value["sft"],
            "longer_over_base": value["longer"] - value["base"],
        }


def _instructions_followed(trial: RealTrial, policy: Policy) -> float:
    """Return the mean share of the instructions that held-out answers follow."""
    return float(
        np.mean(
            [
                [item.aspects[name] for name in item.aspects if name not in {"subject", "sentence"}]
                for item in trial.held_out_assessments(policy)
            ]
        )
    )
