"""User profiles: attributes with probable values, built and updated from what users write."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from pydantic import JsonValue

from backtalk.embedders.registry import EmbedderName
from backtalk.feedback.base import BaseFeedback
from backtalk.feedback.kinds import Critique, Demonstration, Edit, FollowUp, Instruction
from backtalk.feedback.views import CritiqueView, SFTExample
from backtalk.learn.memory.collecting import Collection
from backtalk.learn.memory.lesson import Lesson, make_lesson, normalise
from backtalk.learn.memory.option_types import RecallLimit, Share, Withhold
from backtalk.learn.memory.options import RecallOptions
from backtalk.learn.memory.profile_texts import (
    Observation,
    present_traits,
    stated_values,
    style_values,
)
from backtalk.learn.memory.requirements import reading
from backtalk.learn.memory.writing import memory_of, write_lessons
from backtalk.learn.method import Paper, method
from backtalk.learn.training_set import TrainingSet
from backtalk.memory import Memory
from backtalk.memory.requests import request_text
from backtalk.policy import Policy
from backtalk.run import Run

PAPER = Paper(
    "User profile with large language models: construction, updating, and benchmarking",
    "Prottasha et al.",
    2025,
    "https://arxiv.org/abs/2502.10660",
)
PRIOR = 1.0
"""Weight of a value that was not observed."""
MIN_PROBABILITY = 0.4
"""Default probability from which a value is remembered."""
DECAY = 0.5
"""Default factor on the weights of other values."""


@dataclass
class Profile:
    """Attributes of one user with the weights of their values.

    Parameters
    ----------
    decay : float
        Factor, in [0, 1], on the weight of all other values when one is observed.
    """

    decay: float
    weights: dict[str, dict[str, float]] = field(default_factory=lambda: defaultdict(dict))
    names: dict[str, str] = field(default_factory=dict)
    """Values as they were first written, by their normalised form."""
    sources: dict[tuple[str, str], list[BaseFeedback]] = field(
        default_factory=lambda: defaultdict(list)
    )

    def observe(self, one: Observation, item: BaseFeedback, weight: float) -> None:
        """Add an observation to the weights.

        Parameters
        ----------
        one : Observation
            Attribute and value.
        item : BaseFeedback
            Feedback that shows it.
        weight : float
            Reliability of the annotator, in (0, 1].
        """
        key = normalise(one.value)
        self.names.setdefault(key, one.value)
        values = self.weights[one.attribute]
        if one.is_exclusive:
            for other in values:
                if other != key:
                    values[other] *= self.decay
        values[key] = values.get(key, 0.0) + weight
        self.sources[one.attribute, key].append(item)

    def probabilities(self, attribute: str) -> dict[str, float]:
        """Return the probability of each value of an attribute.

        The mean of the posterior of a Dirichlet prior with one unknown value more.
        """
        values = self.weights[attribute]
        total = sum(values.values()) + PRIOR
        return {self.names[key]: weight / total for key, weight in values.items()}


def _likely_facts(collection: Collection) -> Iterable[Lesson]:
    """Yield the facts that the default options remember."""
    for user, profile in build_profiles(collection, decay=DECAY, style=True).items():
        yield from _likely(profile, user, MIN_PROBABILITY).values()


@method(
    "user-profile",
    target="memory",
    needs=[],
    alternatives=[CritiqueView, SFTExample],
    requires=[
        reading(
            "users who state facts about themselves, or change answers in the same way",
            _likely_facts,
            definite=False,
        )
    ],
    paper=PAPER,
    formula="P(value | attribute) = weight of value / (weights of all values + 1); other "
    "values decay when one is observed",
    example="-o min_probability=0.6",
)
async def user_profile(
    policy: Policy,
    feedback: TrainingSet,
    run: Run,
    *,
    min_probability: Share = MIN_PROBABILITY,
    decay: Share = DECAY,
    style: bool = True,
    memory_name: str | None = None,
    embedder: EmbedderName = "hashed",
    recall_limit: RecallLimit = 8,
    withhold: Withhold = 0.05,
) -> Policy:
    """Build a profile of each user, with the probability of each value, and keep it up to date.

    After Prottasha et al. (2025), without a call of a model. Users state attributes of themselves
    in requests and follow-ups, and show others in the answers that they edit or write: the first
    word, the closing line, and traits such as emojis. Each observation raises the probability of
    its value and lowers that of the others. The most probable value of an attribute is an entry of
    that user. When another value becomes the most probable, its entry replaces the old one.

    Parameters
    ----------
    policy : Policy
        Policy to improve.
    feedback : TrainingSet
        Feedback on interactions with users.
    run : Run
        Seed, budget and cache.
    min_probability : float, default 0.4
        Smallest probability, in [0, 1], of a value that is remembered; a single clear statement
        has about 0.47.
    decay : float, default 0.5
        Factor on the weights of the other values at each observation; 1 weighs old and new alike.
    style : bool, default True
        If true, attributes of answers are part of the profile.
    memory_name : str, optional
        Name of the memory; that of the policy's memory by default, or ``memory``.
    embedder : {"hashed", "sentence"}, default "hashed"
        Embedder of requests and entries.
    recall_limit : int, default 8
        Maximum number of entries in a prompt.
    withhold : float, default 0.05
        Probability with which an entry that applies is withheld in use.
    """
    options = RecallOptions(memory_name, embedder, recall_limit, withhold)
    profiles = build_profiles(Collection.read(feedback), decay=decay, style=style)
    memory = memory_of(policy, feedback, memory_name)
    lessons = [
        lesson
        for user, profile in profiles.items()
        for lesson in _replacing(memory, user, _likely(profile, user, min_probability))
    ]
    notes: dict[str, JsonValue] = {
        "users": len(profiles),
        "values replaced": sum(len(lesson.supersedes) for lesson in lessons),
    }
    return write_lessons(
        policy,
        feedback,
        run,
        lessons,
        method="user-profile",
        options=options.with_own(min_probability=min_probability, decay=decay, style=style),
        spec=options.spec,
        notes=notes,
    )


def build_profiles(collection: Collection, *, decay: float, style: bool) -> dict[str, Profile]:
    """Return the profile of each user, from the earliest to the latest feedback.

    Parameters
    ----------
    collection : Collection
        Feedback.
    decay : float
        Factor on the weights of other values.
    style : bool
        If true, attributes of answers are part of the profile.
    """
    profiles: dict[str, Profile] = {}
    timed = sorted(
        ((item, case) for case in collection.cases for item in case.feedback),
        key=lambda pair: pair[0].time.timestamp() if pair[0].time else 0.0,
    )
    read: set[str] = set()
    present = present_traits(_answers(collection)) if style else frozenset()
    for item, case in timed:
        users = collection.speakers.users(item, case.interaction.user)
        if len(users) != 1:
            continue
        profile = profiles.setdefault(users[0], Profile(decay))
        weight = collection.speakers.reliability(item)
        texts = list(_own_words(item))
        if case.interaction.id not in read and case.interaction.user == users[0]:
            texts.append(request_text(case.interaction.prompt))
            read.add(case.interaction.id)
        for one in (
            *(one for text in texts for one in stated_values(text)),
            *_style(item, style, present),
        ):
            profile.observe(one, item, weight)
    return profiles


def _own_words(item: BaseFeedback) -> Iterable[str]:
    if isinstance(item, FollowUp | Critique | Instruction):
        yield item.text


def _answers(collection: Collection) -> Iterator[str]:
    """Yield the answers of the model and of people."""
    for case in collection.cases:
        yield from (response.text for response in case.interaction.responses)
        yield from (item.text for item in case.feedback if isinstance(item, Edit | Demonstration))


def _style(item: BaseFeedback, style: bool, present: frozenset[str]) -> Sequence[Observation]:
    if style and isinstance(item, Edit | Demonstration):
        return list(style_values(item.text, present))
    return []


def _likely(profile: Profile, user: str, min_probability: float) -> dict[str, Lesson]:
    """Return the lesson of each attribute whose likeliest value is likely enough."""
    results = {}
    for attribute in profile.weights:
        values = profile.probabilities(attribute)
        value = max(values, key=lambda one: values[one])
        if values[value] >= min_probability:
            items = profile.sources[attribute, normalise(value)]
            text = profile_text(attribute, value)
            lesson = make_lesson("fact", text, items, confidence=values[value])
            results[attribute] = lesson.about((user,))
    return results


def profile_text(attribute: str, value: str) -> str:
    """Return the text of an entry about an attribute of a user.

    >>> profile_text("home", "Oslo")
    'User profile: home: Oslo'
    """
    return f"User profile: {attribute}: {value}"


def _replacing(memory: Memory, user: str, best: dict[str, Lesson]) -> list[Lesson]:
    """Return lessons that replace the entries whose attributes have another value now."""
    own = [
        entry
        for entry in memory.entries()
        if entry.method == "user-profile" and entry.scope.users == (user,)
    ]
    results = []
    for attribute, lesson in best.items():
        replaced = tuple(
            entry.id
            for entry in own
            if entry.text.startswith(profile_text(attribute, ""))
            and normalise(entry.text) != normalise(lesson.text)
        )
        results.append(replace(lesson, supersedes=replaced))
    return results
