"""Claims about memory: standing instructions."""

from __future__ import annotations

from collections.abc import Mapping

from claims.claim import Expected, claim
from claims.learning import open_trial

RULES = (
    ("emoji", "boss"),
    ("dear", "friend"),
    ("emoji", "customer"),
    ("dear", "colleague"),
    ("emoji", "colleague"),
)
"""Rules as pairs of a behaviour and the recipients in its scope, one per seed."""


@claim(
    system="RLVF / C3PO",
    paper="Stephan et al. (2024), RLVF: learning from verbal feedback without overgeneralization, "
    "section 5",
    method="c3po",
    world="mail",
    says="Constrained preference optimisation applies verbal feedback where it is meant as well as "
    "a prompt that states it, and elsewhere far less often.",
    expected=[
        Expected(
            "overgeneralised",
            "share of what is followed out of scope, beyond what was there before: 1 - C3PO over "
            "prompting",
            above=0.0,
            size=(0.3, 1.5),
            paper="reduced by 30 %",
        ),
        Expected(
            "inside",
            "share of answers that follow the instruction in its scope: C3PO less prompting",
            above=-0.05,
            paper="no difference stated",
        ),
    ],
)
def c3po(seed: int) -> Mapping[str, float]:
    """Learn from instructions on the samples for 300 prompts that do not follow a rule."""
    with open_trial("mail", seed) as trial:
        behaviour, scope = RULES[seed % len(RULES)]
        rule = next(
            rule for rule in trial.world.rules if (rule.action, rule.scope) == (behaviour, scope)
        )
        feedback = trial.feedback(trial.sample_interactions(300, 1), "instruction", rules=(rule,))
        learned = trial.learn("c3po", feedback)
        prompted = trial.policy.model_copy(update={"system": rule.text})
        before = trial.compliance(trial.policy, rule, in_scope=False)
        spills = trial.compliance(prompted, rule, in_scope=False) - before
        return {
            "inside": trial.compliance(learned, rule) - trial.compliance(prompted, rule),
            "overgeneralised": 1
            - (trial.compliance(learned, rule, in_scope=False) - before) / spills,
        }
