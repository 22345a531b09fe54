"""Claims about facts that people state once, with a real instruction model: SmolLM2-135M."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from backtalk.decode import Sample
from backtalk.feedback import (
    Annotator,
    AnyFeedback,
    Critique,
    Demonstration,
    FollowUp,
    Interaction,
    as_prompt,
)
from backtalk.learn import learn
from backtalk.memory.recall import LoadedMemory
from backtalk.models import Request, Sampling, load_model
from backtalk.models.run_sync import run_sync
from backtalk.policy import Policy
from backtalk.store import Store
from claims.claim import Expected, above, claim
from claims.smollm2 import SMOLLM2

POLICY = Policy(
    model=SMOLLM2, decoder=Sample(sampling=Sampling(max_tokens=24, temperature=0.0)), name="base"
)
QUESTIONS = (
    "What is the capital of {}?",
    "Which city is the capital of {}?",
    "Name the capital city of {}.",
)
"""Question on which a fact is stated, and two that ask for the same."""
COUNTRIES = ("France", "Japan", "Egypt", "Canada", "Italy", "Poland", "Spain", "Greece")
OTHER_REQUESTS = (
    "What colour is the sky?",
    "How many legs does a spider have?",
    "Write a sentence about the sea.",
    "What is 2 + 3?",
)
Teach = Callable[[Interaction, "Fact"], AnyFeedback]


@dataclass(frozen=True)
class Fact:
    """Capital of a country."""

    country: str
    city: str

    @property
    def sentence(self) -> str:
        """The fact in words."""
        return f"The capital of {self.country} is {self.city}."


@claim(
    system="Editing with canonical examples",
    paper="Hewitt et al. (2024), model editing with canonical examples, table 2",
    method="canonical-examples",
    says="A single good answer for each fact makes rephrased questions answered right, and changes "
    "few answers to other requests.",
    expected=[
        above(
            "gain",
            "share of rephrased questions that are answered right, with the examples less without",
            paper="+4.8 % by sense finetuning, +0.3 % by LoRA; country-capital among the data",
        ),
        Expected(
            "spill",
            "share of other requests, half of them about other countries, whose answers name a "
            "city of the examples",
            below=0.25,
            bounds=(0.0, 1.0),
            paper="degradation of at most a small share of the loss on other text",
        ),
    ],
)
def canonical_examples(seed: int) -> Mapping[str, float]:
    """Demonstrate the answer to one question for each of eight invented countries."""
    known, unknown = _invented(seed, 8), _invented(seed + 1_000, 4)
    with _taught("canonical-examples", known, _demonstrate) as (before, after):
        others = [QUESTIONS[0].format(fact.country) for fact in unknown] + [*OTHER_REQUESTS]
        cities = {fact.city for fact in known}
        spills = [any(city in text for city in cities) for text in after(others)]
        return {
            "gain": _right(after, known) - _right(before, known),
            "spill": float(np.mean(spills)),
        }


@claim(
    system="ReSpect",
    paper="Chen et al. (2024), retrospective learning from interactions, figure 3",
    method="respect",
    says="What users object to in their next messages raises the share of right answers, without "
    "any annotation.",
    expected=[
        above(
            "gain",
            "share of rephrased questions that are answered right, after looking back less before",
            paper="task completion from 31 % to 82 %",
        )
    ],
)
def respect(seed: int) -> Mapping[str, float]:
    """Object to the answer about each of eight invented countries in the next message."""
    facts = _invented(seed, 8)
    with _taught("respect", facts, _object) as (before, after):
        return {"gain": _right(after, facts) - _right(before, facts)}


@claim(
    system="FineTuneBench",
    paper="Wu et al. (2024), FineTuneBench: how well do commercial fine-tuning APIs infuse "
    "knowledge into LLMs?, section 4",
    method="memory",
    says="New and changed facts that people state in critiques are answered when they are asked "
    "for in other words, more often than after fine-tuning by commercial services.",
    expected=[
        Expected(
            "new",
            "share of rephrased questions about new facts that are answered right",
            above=0.37,
            bounds=(0.0, 1.0),
            paper="0.37 on average after fine-tuning",
        ),
        Expected(
            "changed",
            "share of rephrased questions about changed facts that are answered right",
            above=0.19,
            bounds=(0.0, 1.0),
            paper="0.19 on average after fine-tuning",
        ),
    ],
)
def fine_tune_bench(seed: int) -> Mapping[str, float]:
    """Correct answers about six invented countries, and about six real ones with a new capital."""
    rng = np.random.default_rng([seed, 121])
    new = _invented(seed, 6)
    names = rng.choice(COUNTRIES, 6, replace=False).tolist()
    changed = [
        Fact(name, fact.city) for name, fact in zip(names, _invented(seed + 500, 6), strict=True)
    ]
    with _taught("memory", [*new, *changed], _correct) as (_, after):
        return {"new": _right(after, new), "changed": _right(after, changed)}


Answer = Callable[[Sequence[str]], list[str]]


@contextmanager
def _taught(method: str, facts: Sequence[Fact], teach: Teach) -> Iterator[tuple[Answer, Answer]]:
    """Yield the answers before and after a method learned from feedback on each fact."""
    with TemporaryDirectory() as folder, Store(Path(folder) / "store.db") as store:
        model = load_model(SMOLLM2)

        def answer(policy: Policy, requests: Sequence[str]) -> list[str]:
            memory = None if policy.memory is None else LoadedMemory(store, policy.memory)
            texts: list[tuple[str, ...]] = [
                () if memory is None else run_sync(memory.recall(as_prompt(one), user="ada")).texts
                for one in requests
            ]
            calls = [
                Request(
                    messages=policy.messages(request, remembered=remembered),
                    sampling=policy.decoder.base_sampling,
                )
                for request, remembered in zip(requests, texts, strict=True)
            ]
            return [reply.text for reply in run_sync(model.generate(calls))]

        questions = [QUESTIONS[0].format(fact.country) for fact in facts]
        texts = answer(POLICY, questions)
        for fact, request, text in zip(facts, questions, texts, strict=True):
            interaction = Interaction.of(request, text, user="ada")
            store.add(interaction, teach(interaction, fact))
        learned = learn(method, POLICY, store, split="all")
        yield (
            lambda requests: answer(POLICY, requests),
            lambda requests: answer(learned, requests),
        )


def _right(answer: Answer, facts: Sequence[Fact]) -> float:
    """Return the share of rephrased questions whose answers name the right city."""
    rephrased = [(text.format(fact.country), fact.city) for fact in facts for text in QUESTIONS[1:]]
    texts = answer([request for request, _ in rephrased])
    return float(np.mean([city in text for text, (_, city) in zip(texts, rephrased, strict=True)]))


def _invented(seed: int, count: int) -> list[Fact]:
    """Return facts about invented countries with invented capitals."""
    rng = np.random.default_rng([seed, 122])
    names: dict[str, None] = {}
    while len(names) < 2 * count:
        parts = rng.choice(_SYLLABLES, 3, replace=False).tolist()
        names["".join(parts).capitalize()] = None
    drawn = list(names)
    return [Fact(f"{drawn[n]}ia", drawn[count + n]) for n in range(count)]


_SYLLABLES = (
    "ba",
    "dor",
    "fen",
    "gal",
    "kir",
    "lom",
    "mar",
    "nel",
    "pol",
    "rud",
    "sab",
    "tor",
    "vel",
)


def _fields(interaction: Interaction) -> dict[str, Any]:
    return {"interaction": interaction.id, "annotator": Annotator.human("ada")}


def _demonstrate(interaction: Interaction, fact: Fact) -> AnyFeedback:
    return Demonstration(**_fields(interaction), text=fact.sentence)


def _object(interaction: Interaction, fact: Fact) -> AnyFeedback:
    fields = _fields(interaction) | {"annotator": Annotator.implicit("ada")}
    return FollowUp(**fields, response="0", text=f"No, that is wrong. {fact.sentence}")


def _correct(interaction: Interaction, fact: Fact) -> AnyFeedback:
    return Critique(**_fields(interaction), response="0", text=fact.sentence)
