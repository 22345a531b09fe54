"""Constrained writing: a sentence about a subject under two instructions that a program checks.

Instructions of this kind are those of Zhou et al. (2023), "Instruction-following evaluation for
large language models". A real language model follows most of them seldom, though it knows their
words. Simulated people see what the program sees.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from backtalk.feedback import (
    Annotator,
    Critique,
    Edit,
    Interaction,
    Label,
    Preference,
    Ranking,
    Rating,
    as_prompt,
)
from backtalk.feedback.case import Case
from backtalk.feedback.interaction import Prompt
from backtalk.feedback.kinds import Scale

SUBJECTS: Mapping[str, tuple[str, ...]] = {
    "train": (
        *("apples", "autumn", "bicycles", "birds", "books", "bread", "bridges", "butterflies"),
        *("cats", "clouds", "coffee", "dancing", "deserts", "dogs", "dreams", "eagles", "fire"),
        *("fishing", "football", "forests", "gardens", "glaciers", "gold", "guitars", "honey"),
        *("horses", "islands", "kites", "lakes", "maps", "markets", "mirrors", "mountains"),
        *("mushrooms", "music", "oceans", "owls", "penguins", "pianos", "pizza", "planets"),
        *("poetry", "rain", "rivers", "robots", "sailing", "schools", "silk", "sleep", "snow"),
    ),
    "held-out": (
        *("soup", "spiders", "spring", "stars", "storms", "summer", "sunsets", "swimming", "tea"),
        *("teachers", "tigers", "trains", "trees", "volcanoes", "waterfalls", "weddings"),
        *("whales", "wind", "winter", "wolves"),
    ),
}
"""Subjects by split; none is in both."""
MAX_TOKENS = 40
_REQUEST = re.compile(r"Write one sentence about (?P<subject>\w+)\.(?P<instructions>.*)", re.DOTALL)
_WORD = re.compile(r"[\w'-]+")
_FIRST_PERSON = re.compile(r"\b(?:i|i'm|i've|my|me)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Constraint:
    """Instruction with the program that checks it."""

    name: str
    instruction: str
    fault: str
    """Remark of a person on a text that does not follow the instruction."""
    follows: Callable[[str], bool]
    mend: Callable[[str], str]
    """Change after which the text follows the instruction."""
    excludes: tuple[str, ...] = ()
    """Names of constraints that cannot hold with this one."""


def _words(text: str) -> list[str]:
    return _WORD.findall(text)


def _lower_first(text: str) -> str:
    return text if text[:2] in {"I ", "I'"} else text[:1].lower() + text[1:]


def _end_with(mark: str) -> Callable[[str], str]:
    return lambda text: text.rstrip(' ".!?,;:') + mark


def _shorten(text: str) -> str:
    return " ".join(text.split()[:8]).rstrip(" .!?,;:") + "."


CONSTRAINTS: Mapping[str, Constraint] = {
    item.name: item
    for item in (
        # In the order in which they are mended, so that a later one leaves the earlier ones intact.
        Constraint(
            "short",
            "Use at most twelve words.",
            "It has more than twelve words.",
            lambda text: len(_words(text)) <= 12,
            _shorten,
        ),
        Constraint(
            "person",
            "Write in the first person.",
            "It is not in the first person.",
            lambda text: bool(_FIRST_PERSON.search(text)),
            lambda text: f"I think that {_lower_first(text)}",
        ),
        Constraint(
            "question",
            "Write it as a question.",
            "It is not a question.",
            lambda text: text.rstrip(' "').endswith("?"),
            lambda text: _end_with("?")(f"Did you know that {_lower_first(text)}"),
            ("exclamation", "dots", "opening"),
        ),
        Constraint(
            "exclamation",
            "End with an exclamation mark.",
            "It does not end with an exclamation mark.",
            lambda text: text.rstrip(' "').endswith("!"),
            _end_with("!"),
            ("dots",),
        ),
        Constraint(
            "dots",
            "End with three dots.",
            "It does not end with three dots.",
            lambda text: text.rstrip(' "').endswith("..."),
            _end_with("..."),
        ),
        Constraint(
            "opening",
            "Begin with the word honestly.",
            "It does not begin with the word honestly.",
            lambda text: text.lstrip(' "').lower().startswith("honestly"),
            lambda text: f"Honestly {_lower_first(text)}",
        ),
        Constraint(
            "commas",
            "Do not use commas.",
            "There are commas in it.",
            lambda text: "," not in text,
            lambda text: text.replace(",", ""),
        ),
        Constraint(
            "lower",
            "Use small letters only.",
            "There are capital letters in it.",
            lambda text: text == text.lower(),
            str.lower,
            ("capitals",),
        ),
        Constraint(
            "capitals",
            "Use capital letters only.",
            "There are small letters in it.",
            lambda text: text == text.upper(),
            str.upper,
        ),
        Constraint(
            "quotes",
            "Put it in double quotation marks.",
            "It is not in double quotation marks.",
            lambda text: len(text) > 1 and text.startswith('"') and text.endswith('"'),
            lambda text: '"' + text.replace('"', "") + '"',
        ),
    )
}
PAIRS: tuple[tuple[str, str], ...] = tuple(
    (a, b)
    for a, b in combinations(CONSTRAINTS, 2)
    if b not in CONSTRAINTS[a].excludes and a not in CONSTRAINTS[b].excludes
)
"""Pairs of constraints that can hold together."""


@dataclass(frozen=True)
class Task:
    """Subject, and the names of the constraints of its sentence."""

    subject: str
    constraints: tuple[str, ...]

    @property
    def prompt(self) -> Prompt:
        """Request in words."""
        instructions = " ".join(CONSTRAINTS[name].instruction for name in self.constraints)
        return as_prompt(f"Write one sentence about {self.subject}. {instructions}")


@dataclass(frozen=True)
class WritingAssessment:
    """Assessment of a sentence: 1 or 0 for each aspect."""

    aspects: Mapping[str, float]
    faults: tuple[str, ...]
    """Remark of a person on each aspect that fails."""

    @property
    def utility(self) -> float:
        """Share of the aspects that hold, in [0, 1]."""
        return float(np.mean([*self.aspects.values()]))


class Writing:
    """Tasks of constrained writing, with the interface of a world that a trial needs."""

    name = "constrained writing"
    max_tokens = MAX_TOKENS

    def prompts(self, split: str, count: int, *, seed: int = 0) -> list[Prompt]:
        """Return different prompts of a split in random order.

        Parameters
        ----------
        split : {"train", "held-out"}
            Split, which decides the subjects.
        count : int
            Number of prompts.
        seed : int, default 0
            Seed.
        """
        tasks = [Task(subject, pair) for subject in SUBJECTS[split] for pair in PAIRS]
        if count > len(tasks):
            raise ValueError(f"the split {split!r} has {len(tasks)} prompts, not {count}")
        order = np.random.default_rng([seed, len(split)]).permutation(len(tasks))
        return [tasks[i].prompt for i in order[:count]]

    def parse_prompt(self, prompt: Prompt) -> Task:
        """Return the task of a prompt: of its last message that is a request."""
        for message in reversed(prompt):
            request = _REQUEST.search(message.text)
            if message.role == "user" and request is not None:
                instructions = request["instructions"]
                return Task(
                    request["subject"],
                    tuple(
                        name
                        for name, item in CONSTRAINTS.items()
                        if item.instruction in instructions
                    ),
                )
        raise ValueError(f"no request in {prompt!r}")

    def score(self, prompt: Prompt, text: str, rules: Sequence[object] = ()) -> WritingAssessment:
        """Return the assessment of a text.

        Beside the two constraints the text has to be a line of 4 to 30 words that names the
        subject.

        Parameters
        ----------
        prompt : Prompt
            Prompt with the request.
        text : str
            Text.
        rules : sequence, default ()
            Standing instructions; there are none here.
        """
        if rules:
            raise ValueError("constrained writing has no standing instructions")
        task, text = self.parse_prompt(prompt), text.strip()
        checks = {
            "subject": task.subject.rstrip("s")[:5] in text.lower(),
            "sentence": 4 <= len(_words(text)) <= 30 and "\n" not in text,
        }
        remarks = {
            "subject": f"It is not about {task.subject}.",
            "sentence": "It is not one sentence.",
        }
        for name in task.constraints:
            checks[name] = CONSTRAINTS[name].follows(text)
            remarks[name] = CONSTRAINTS[name].fault
        return WritingAssessment(
            {name: float(holds) for name, holds in checks.items()},
            tuple(remarks[name] for name, holds in checks.items() if not holds),
        )

    def mend(self, prompt: Prompt, text: str) -> str:
        """Return the text with changes after which nothing is wrong with it."""
        task = self.parse_prompt(prompt)
        text = " ".join(text.replace("\n", " ").split()).strip('"') or "they are everywhere."
        if not self.score(prompt, text).aspects["subject"]:
            text = f"For {task.subject}, {_lower_first(text)}"
        if len(_words(text)) > 24:
            text = _end_with(".")(" ".join(text.split()[:20]))
        if len(_words(text)) < 4:
            text = f"When we think of {task.subject}, {_lower_first(text)}"
        if "short" in task.constraints and len(_words(text)) > 8:  # others may add four words
            text = _shorten(text)
        for name, item in CONSTRAINTS.items():
            if name in task.constraints and not item.follows(text):
                text = item.mend(text)
        return text


def annotate(
    world: Writing, interactions: Sequence[Interaction], kinds: Sequence[str]
) -> Iterator[Case]:
    """Yield the true feedback of a person on each interaction.

    Parameters
    ----------
    world : Writing
        World.
    interactions : sequence of Interaction
        Interactions with responses.
    kinds : sequence of str
        Kinds: ``"label"`` (good: at most one fault), ``"rating"``, ``"critique"`` and ``"edit"``
        of the first response if something is wrong with it,
        ``"preference"`` between the first two, and ``"ranking"`` of all.
    """
    person = Annotator.simulated("reader")
    for interaction in interactions:
        seen = [world.score(interaction.prompt, item.text) for item in interaction.responses]
        values = [item.utility for item in seen]
        common = {"interaction": interaction.id, "annotator": person}
        records: list[object] = []
        for response, item in zip(interaction.responses, seen, strict=True):
            place = {**common, "response": response.id}
            if "label" in kinds:
                records.append(Label(**place, good=len(item.faults) < 2))
            if "rating" in kinds:
                scale = Scale(name="share", low=0, high=1)
                records.append(Rating(**place, value=item.utility, scale=scale))
        if seen[0].faults:
            place = {**common, "response": interaction.responses[0].id}
            if "critique" in kinds:
                records.append(Critique(**place, text=" ".join(seen[0].faults)))
            if "edit" in kinds:
                text = world.mend(interaction.prompt, interaction.responses[0].text)
                records.append(Edit(**place, text=text))
        if "preference" in kinds:
            a, b = interaction.responses[:2]
            verdict = "tie" if values[0] == values[1] else "a" if values[0] > values[1] else "b"
            records.append(Preference(**common, a=a.id, b=b.id, verdict=verdict))
        if "ranking" in kinds:
            records.append(Ranking(**common, tiers=_tiers(interaction, values)))
        yield Case(interaction, tuple(records))


def _tiers(interaction: Interaction, values: Sequence[float]) -> tuple[tuple[str, ...], ...]:
    """Return the ids of the responses by falling utility; equal ones share a tier."""
    return tuple(
        tuple(
            response.id
            for response, value in zip(interaction.responses, values, strict=True)
            if value == level
        )
        for level in sorted(set(values), reverse=True)
    )
