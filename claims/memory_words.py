"""Claims about memories of what people say: MemPrompt, ConstitutionMaker, verbal feedback."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from backtalk.feedback import Annotator, Critique
from backtalk.feedback.case import Case
from claims.claim import Expected, above, claim
from claims.memory_world import distinct_rules, open_memory_world


@claim(
    system="MemPrompt",
    paper="Madaan et al. (2022), memory-assisted prompt editing to improve GPT-3 after deployment, "
    "figure 5",
    method="mem-prompt",
    world="mail",
    says="Answers meet more of what users mean as the memory of their clarifications grows.",
    expected=[
        above(
            "growth",
            "share of wishes that answers meet: last 25 of 125 requests less first 25",
            paper="rises from below 40 % to above 90 % on lexical tasks",
        ),
        above(
            "more",
            "share of wishes that held-out answers meet: with the memory less without",
            paper="+25 points or more on all four tasks",
        ),
    ],
)
def mem_prompt(seed: int) -> Mapping[str, float]:
    """State a wish whenever an answer breaks it; learn after every 25 requests."""
    with open_memory_world("mail", seed) as world:
        rules = distinct_rules(world, 3, seed=seed)
        person = world.person(rules)
        policy, met = world.policy, []
        for number in range(5):
            prompts = world.needing(rules, 25, start=25 * number)
            texts = world.answer(policy, prompts, seed=number)
            met.append(world.compliance(rules, prompts, texts))
            world.teach(person, world.interactions(prompts, texts), "instruction")
            policy = world.learn("mem-prompt", policy)
        held_out = world.needing(rules, 60, split="held-out")
        after, before = (
            world.compliance(rules, held_out, world.answer(one, held_out))
            for one in (policy, world.policy)
        )
        return {"growth": met[-1] - met[0], "more": after - before}


@claim(
    system="RLVF / C3PO",
    paper="Stephan et al. (2024), RLVF: learning from verbal feedback without overgeneralization, "
    "section 5",
    method="verbal-feedback",
    world="mail",
    says="An instruction with a learned scope is followed where it is meant as well as one in "
    "every prompt, and elsewhere less often.",
    expected=[
        Expected(
            "overgeneralised",
            "share of what is followed out of scope, beyond what was there before: 1 - scoped over "
            "prompting",
            above=0.3,
            paper="reduced by 30 %, by C3PO in the weights",
        ),
        Expected(
            "inside",
            "share of answers that follow an instruction in its scope: scoped less prompting",
            above=-0.05,
            paper="no difference stated",
        ),
    ],
)
def verbal_feedback(seed: int) -> Mapping[str, float]:
    """Learn from the instructions that a reviewer gives on 100 answers."""
    with open_memory_world("mail", seed) as world:
        rules = distinct_rules(world, 2, seed=seed)
        prompts = world.prompts(100)
        texts = world.answer(world.policy, prompts)
        world.teach(world.person(rules), world.interactions(prompts, texts), "instruction")
        learned = world.learn("verbal-feedback")
        inside: dict[str, list[float]] = {"none": [], "prompt": [], "scoped": []}
        outside: dict[str, list[float]] = {"none": [], "prompt": [], "scoped": []}
        tested = world.prompts(120, split="held-out")
        for rule in rules:
            answers = {
                "none": world.answer(world.policy, tested),
                "prompt": world.answer(world.policy, tested, remembered=[rule.text]),
                "scoped": world.answer(learned, tested),
            }
            for arm, replies in answers.items():
                for prompt, text in zip(tested, replies, strict=True):
                    applies = world.world.applies(rule, world.world.parse_prompt(prompt))
                    (inside if applies else outside)[arm].append(world.follows(rule, prompt, text))
        spills = np.mean(outside["prompt"]) - np.mean(outside["none"])
        scoped = np.mean(outside["scoped"]) - np.mean(outside["none"])
        return {
            "overgeneralised": float(1 - scoped / spills),
            "inside": float(np.mean(inside["scoped"]) - np.mean(inside["prompt"])),
        }


@claim(
    system="ConstitutionMaker",
    paper="Petridis et al. (2023), ConstitutionMaker: interactively critiquing large language "
    "models by converting feedback into principles, section 6",
    method="constitution-maker",
    world="mail",
    says="Principles made of critiques and rewrites guide the answers as well as principles that "
    "users write themselves.",
    expected=[
        above(
            "critiques",
            "share of wishes that held-out answers meet: principles from critiques less none",
            paper="people rated that principles guide better (no such figure)",
        ),
        above(
            "rewrites",
            "share of wishes that held-out answers meet: principles from rewrites less none",
            paper="people rated that principles guide better (no such figure)",
        ),
    ],
)
def constitution_maker(seed: int) -> Mapping[str, float]:
    """Criticise, and in another project rewrite, answers under one wish for all requests."""
    results = {}
    for kind in ("critiques", "rewrites"):
        with open_memory_world("mail", seed) as world:
            rules = distinct_rules(world, 1, seed=seed, everywhere=True)
            prompts = world.prompts(40)
            interactions = world.interactions(prompts, world.answer(world.policy, prompts))
            person = world.person(rules)
            if kind == "rewrites":
                world.teach(person, interactions, "edit")
            else:
                stated = Annotator.simulated(person.name)
                world.store.add_cases(
                    Case(
                        one,
                        tuple(
                            Critique(
                                interaction=one.id, annotator=stated, response="0", text=rule.text
                            )
                            for rule in rules
                            if not world.follows(rule, one.prompt, one.responses[0].text)
                        ),
                    )
                    for one in interactions
                )
            learned = world.learn("constitution-maker", state_rewrites=kind == "rewrites")
            held_out = world.needing(rules, 60, split="held-out")
            after, before = (
                world.compliance(rules, held_out, world.answer(one, held_out))
                for one in (learned, world.policy)
            )
            results[kind] = after - before
    return results
