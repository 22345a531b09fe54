"""The family MEMORY: standing instructions and what else is to be remembered."""

from __future__ import annotations

from collections.abc import Mapping

from claims.claim import Expected, claim
from claims.learning import trial

RULES = (
    ("emoji", "boss"),
    ("dear", "friend"),
    ("emoji", "customer"),
    ("dear", "colleague"),
    ("emoji", "colleague"),
)
"""What to do differently and for whom, one a seed; elsewhere it can be done too."""


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
    """Have people state an instruction wherever an answer of 300 does not follow it."""
    with trial("mail", seed) as bench:
        what, scope = RULES[seed % len(RULES)]
        rule = next(one for one in bench.world.rules if (one.what, one.scope) == (what, scope))
        said = bench.feedback(bench.answered(300, 1), "instruction", rules=(rule,))
        learned = bench.learned("c3po", said)
        prompted = bench.policy.model_copy(update={"system": rule.text})
        before = bench.obeys(bench.policy, rule, inside=False)
        spills = bench.obeys(prompted, rule, inside=False) - before
        return {
            "inside": bench.obeys(learned, rule) - bench.obeys(prompted, rule),
            "overgeneralised": 1 - (bench.obeys(learned, rule, inside=False) - before) / spills,
        }
