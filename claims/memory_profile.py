"""Claim about user profiles: values with probabilities, built and updated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from backtalk.memory import Memory
from backtalk.policy import Policy
from backtalk.worlds.world import ErrorRates, Rule
from claims.claim import Control, Expected, claim
from claims.controls import rotation
from claims.memory_world import MemoryWorld, open_memory_world

ATTRIBUTES = ("first word of answers", "closing line of answers", "emojis in answers")
STYLES = (
    {"dear": "Dear", "hello": "Hello", "hi": "Hi"},
    {"kind-regards": "Kind regards", "best-wishes": "Best wishes", "cheers": "Cheers"},
    {"emoji": "yes", "no-emoji": "no"},
)
"""Wishes by their action, with the value of each attribute that they lead to."""


@claim(
    system="LLM user profile builder",
    paper="Prottasha et al. (2025), user profile with large language models: construction, "
    "updating, and benchmarking, tables 3 and 4",
    method="user-profile",
    world="mail",
    says="Profiles are built, and updated after a change, with high precision and recall.",
    expected=[
        Expected(
            "construction",
            "F1 of the values of three attributes of six users, after 20 edits each",
            above=0.8,
            bounds=(0.0, 1.0),
            paper="F1 above 0.8 for the best models",
        ),
        Expected(
            "updating",
            "F1 after every user changed their mind, and 20 further edits each",
            above=0.8,
            bounds=(0.0, 1.0),
            paper="F1 above 0.8 for the best models",
        ),
    ],
    controls=[
        Control(
            "others_construction",
            "each profile compared with another user's wishes",
            "construction",
        ),
        Control("stale_updating", "the profiles from before the further edits", "updating"),
    ],
)
def user_profile(seed: int) -> Mapping[str, float]:
    """Edit drafts as six users with three wishes about all mails each, then with three others."""
    with open_memory_world("mail", seed) as world:
        rng = np.random.default_rng([seed, 81])
        policy = world.policy
        results = {}
        for stage, phase in enumerate(("construction", "updating")):
            truths = {}
            for user in range(6):
                rules, truth = _draw_style(world, rng)
                truths[f"user-{user}"] = truth
                _edit_drafts(world, f"user-{user}", rules, rng, start=20 * (6 * stage + user))
            if phase == "updating":
                results["stale_updating"] = _f1(world, policy, truths)
            policy = world.learn("user-profile", policy, min_probability=0.5)
            results[phase] = _f1(world, policy, truths)
            if phase == "construction":
                origins = [list(truths)[place] for place in rotation(len(truths), seed=seed)]
                others = {user: truths[other] for user, other in zip(truths, origins, strict=True)}
                results["others_construction"] = _f1(world, policy, others)
        return results


def _draw_style(world: MemoryWorld, rng: np.random.Generator) -> tuple[list[Rule], dict[str, str]]:
    rules, truth = [], {}
    for attribute, styles in zip(ATTRIBUTES, STYLES, strict=True):
        action = list(styles)[int(rng.integers(len(styles)))]
        truth[attribute] = styles[action]
        rules.append(next(r for r in world.world.rules if (r.action, r.scope) == (action, "all")))
    return rules, truth


def _edit_drafts(
    world: MemoryWorld, user: str, rules: Sequence[Rule], rng: np.random.Generator, *, start: int
) -> None:
    prompts = world.prompts(20, start=start)
    drafts = [
        world.world.write(world.world.parse_prompt(prompt), rng, ErrorRates()) for prompt in prompts
    ]
    interactions = world.interactions(prompts, drafts, user=user)
    world.teach(world.person(rules, name=user), interactions, "edit")


def _f1(world: MemoryWorld, policy: Policy, truths: Mapping[str, Mapping[str, str]]) -> float:
    assert policy.memory is not None
    right = stated = 0
    for entry in Memory(world.store).entries(policy.memory.revision):
        for attribute in ATTRIBUTES:
            start = f"User profile: {attribute}: "
            if entry.text.startswith(start):
                stated += 1
                right += truths[entry.scope.users[0]][attribute] == entry.text.removeprefix(start)
    total = sum(len(truth) for truth in truths.values())
    return 2 * right / (stated + total)
