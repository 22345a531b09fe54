"""Scope of rules: adherence where they are meant, leakage elsewhere.

``python -m benchmarks memory-scope`` measures two tables. In the mail world a memory of eight
scoped rules meets requests inside the scope of each, near it and far from it, and the world's small
model answers. On rules and requests in natural language, the scope decisions themselves are
compared with the truth.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from sklearn.cluster import KMeans

from backtalk.decode import Sample
from backtalk.embedders.registry import get_embedder
from backtalk.feedback import Interaction, Scope
from backtalk.feedback.interaction import Prompt
from backtalk.memory import Memory, MemoryEntry, MemorySpec, ScopeClassifier
from backtalk.models import CachedModel, LocalSpec, Request, ResponseCache, Sampling
from backtalk.models.run_sync import run_sync
from backtalk.policy import LoadedPolicy, Policy, load_policy
from backtalk.stats import exact_interval
from backtalk.store import Store
from backtalk.worlds import get_world
from backtalk.worlds.small import small_model_folder
from backtalk.worlds.train.curriculum import GUIDANCE, training_rules
from backtalk.worlds.world import Rule
from benchmarks.table import Table

SEEDS = (0, 1, 2, 3, 4)
RULES_PER_SCOPE = 2
REQUESTS_PER_SCOPE = 8
OTHER_REQUESTS = 16
STORED_REQUESTS = 120
INSIDE, OUTSIDE = 4, 3
"""Numbers of examples inside and outside each rule's scope."""
SPACES = 4
"""Number of name spaces."""
DATA = Path(__file__).parent / "data" / "scope_requests.json"

WORLD = get_world("mail")


@dataclass(frozen=True)
class Setting:
    """Rules, stored requests and probes of one seed."""

    seed: int
    rules: tuple[Rule, ...]
    examples: Mapping[Rule, tuple[tuple[str, ...], tuple[str, ...]]]
    """Requests inside and outside the scope of each rule."""
    stored: tuple[Prompt, ...]
    probes: tuple[Prompt, ...]


Remembered = Callable[[Setting], list[list[str]]]
"""Function that returns the rules that a system puts into the prompt of each probe."""


def make_setting(seed: int) -> Setting:
    """Return the setting of a seed; probes are held-out and out-of-scope tasks."""
    rng = np.random.default_rng([seed, 77])
    stored = WORLD.prompts("train", STORED_REQUESTS + 60, seed=seed)
    held_out = WORLD.prompts("held-out", 20 * REQUESTS_PER_SCOPE, seed=seed)
    rules: list[Rule] = []
    probes: list[Prompt] = []
    for scope in ("boss", "customer", "colleague", "friend"):
        inside = [p for p in held_out if WORLD.parse_prompt(p).recipient.name == scope]
        actions = {rule.action for rule in rules}
        choices = [
            rule
            for rule in training_rules(WORLD)
            if rule.scope == scope and rule.action not in actions and _matters(rule, inside[0])
        ]
        rules += _compatible(choices, inside[0], rng)
        probes += inside[:REQUESTS_PER_SCOPE]
    probes += WORLD.prompts("out-of-scope", OTHER_REQUESTS, seed=seed)
    shown = stored[STORED_REQUESTS:]
    return Setting(
        seed,
        tuple(rules),
        {rule: _examples(rule, shown) for rule in rules},
        stored[:STORED_REQUESTS],
        tuple(probes),
    )


def _compatible(choices: Sequence[Rule], prompt: Prompt, rng: np.random.Generator) -> list[Rule]:
    """Return rules that can be followed together."""
    task = WORLD.parse_prompt(prompt)
    rules: list[Rule] = []
    for index in rng.permutation(len(choices)):
        together = [*rules, choices[index]]
        ideal = WORLD.ideal(task, together)
        if not any(_violates(prompt, ideal, rule) for rule in together):
            rules = together
    return rules[:RULES_PER_SCOPE]


def _examples(rule: Rule, prompts: Sequence[Prompt]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    tasks = [WORLD.parse_prompt(prompt) for prompt in prompts]
    inside = [task.text for task in tasks if WORLD.applies(rule, task)]
    outside = [task.text for task in tasks if not WORLD.applies(rule, task)]
    return tuple(inside[:INSIDE]), tuple(outside[:OUTSIDE])


def _matters(rule: Rule, prompt: Prompt) -> bool:
    """Return true if the rule, in force everywhere, changes what a good answer is."""
    return _violates(prompt, WORLD.ideal(WORLD.parse_prompt(prompt)), rule)


def _violates(prompt: Prompt, text: str, rule: Rule) -> bool:
    everywhere = replace(rule, scope="all")
    before, after = (
        {(issue.label, issue.advice) for issue in WORLD.score(prompt, text, rules).issues}
        for rules in ((), (everywhere,))
    )
    return bool(after - before)


def none(setting: Setting) -> list[list[str]]:
    """Remember nothing."""
    return [[] for _ in setting.probes]


def paste_all(setting: Setting) -> list[list[str]]:
    """Put all rules into every prompt."""
    return [[rule.text for rule in setting.rules] for _ in setting.probes]


def oracle(setting: Setting) -> list[list[str]]:
    """Put the rules that apply into each prompt."""
    return [
        [rule.text for rule in WORLD.applicable_rules(WORLD.parse_prompt(prompt), setting.rules)]
        for prompt in setting.probes
    ]


def nearest(embedder: str, count: int) -> Remembered:
    """Return a system that puts the rules with the nearest texts or examples into the prompt."""

    def remembered(setting: Setting) -> list[list[str]]:
        embed = _embedder(embedder, setting)
        probes = embed([prompt[-1].text for prompt in setting.probes])
        values = np.stack(
            [
                (probes @ embed([rule.text, *setting.examples[rule][0]]).T).max(axis=1)
                for rule in setting.rules
            ],
            axis=1,
        )
        return [
            [setting.rules[i].text for i in np.argsort(-row, kind="stable")[:count]]
            for row in values
        ]

    return remembered


def name_spaces(embedder: str) -> Remembered:
    """Return a system with a bag of rules for each cluster of the stored requests."""

    def remembered(setting: Setting) -> list[list[str]]:
        embed = _embedder(embedder, setting)
        clusters = KMeans(SPACES, random_state=0, n_init=4)
        clusters.fit(embed([prompt[-1].text for prompt in setting.stored]))
        bags = {
            rule: {*clusters.predict(embed(setting.examples[rule][0])).tolist()}
            for rule in setting.rules
        }
        spaces = clusters.predict(embed([prompt[-1].text for prompt in setting.probes]))
        return [
            [rule.text for rule in setting.rules if space in bags[rule]]
            for space in spaces.tolist()
        ]

    return remembered


@cache
def _embed_function(name: str, texts: tuple[str, ...]) -> Callable[[Sequence[str]], Any]:
    embedder = get_embedder(name, texts)
    return lambda texts: run_sync(embedder.embed(list(texts)))


def _embedder(name: str, setting: Setting) -> Callable[[Sequence[str]], Any]:
    return _embed_function(name, tuple(prompt[-1].text for prompt in setting.stored))


def memory(embedder: str, *, words: bool, examples: bool) -> Remembered:
    """Return Backtalk's memory, whose scopes have words, examples or both.

    Parameters
    ----------
    embedder : str
        Name of the embedder.
    words : bool
        If true, scopes say in words where they apply.
    examples : bool
        If true, scopes have examples inside and outside.
    """

    def remembered(setting: Setting) -> list[list[str]]:
        with TemporaryDirectory() as folder, Store(Path(folder) / "store.db") as store:
            store.add(*(Interaction(prompt=prompt) for prompt in setting.stored))
            entries = []
            for rule in setting.rules:
                inside, outside = setting.examples[rule] if examples else ((), ())
                where = f"in{rule.text.rstrip('.').split(' in', 1)[1]}" if words else None
                scope = Scope(where=where, inside=inside, outside=outside)
                entries.append(MemoryEntry(kind="instruction", text=rule.text, scope=scope))
            spec = MemorySpec(revision=Memory(store).add(entries), embedder=embedder)
            policy = _policy().model_copy(update={"memory": spec})
            loaded = load_policy(policy, store.artifacts, store=store)
            recalls = [run_sync(loaded.memory.recall(prompt)) for prompt in setting.probes]
        return [list(recall.texts) for recall in recalls]

    return remembered


SYSTEMS: Mapping[str, Remembered] = {
    "no memory": none,
    "all rules pasted in": paste_all,
    "nearest rule, words": nearest("hashed", 1),
    "nearest rule, sentences": nearest("sentence", 1),
    "two nearest rules, sentences": nearest("sentence", 2),
    "name spaces, sentences": name_spaces("sentence"),
    "Backtalk, where in words": memory("hashed", words=True, examples=False),
    "Backtalk, 4 + 3 examples": memory("hashed", words=False, examples=True),
    "Backtalk, both": memory("hashed", words=True, examples=True),
    "Backtalk, both, sentences": memory("sentence", words=True, examples=True),
    "scopes known": oracle,
}


def _policy() -> Policy:
    sampling = Sampling(max_tokens=WORLD.max_tokens, temperature=0.0)
    model = LocalSpec(model=str(small_model_folder("mail")))
    # As few random errors as the model can make, in all systems alike.
    return Policy(
        model=model, system=" ".join(GUIDANCE.values()), decoder=Sample(sampling=sampling)
    )


@dataclass(frozen=True)
class Follows:
    """Share of answers that follow a rule, by where its scope lies from the request."""

    inside: float
    near: float
    other: float


def follows(remembered: Remembered, setting: Setting, loaded: LoadedPolicy) -> Follows:
    """Answer the probes with the remembered rules and return what the answers follow.

    Parameters
    ----------
    remembered : Remembered
        System that remembers rules.
    setting : Setting
        Rules and probes.
    loaded : LoadedPolicy
        Policy with the world's model.
    """
    texts = remembered(setting)
    requests = [
        Request(
            messages=loaded.policy.messages(prompt, remembered=rules),
            sampling=loaded.policy.decoder.base_sampling,
            seed=setting.seed,
        )
        for prompt, rules in zip(setting.probes, texts, strict=True)
    ]
    answers = [completion.text for completion in run_sync(loaded.model.generate(requests))]
    cells: dict[str, list[bool]] = {"inside": [], "near": [], "other": []}
    for prompt, answer in zip(setting.probes, answers, strict=True):
        task = WORLD.parse_prompt(prompt)
        for rule in setting.rules:
            if _matters(rule, prompt):
                known = task.recipient.name in {"boss", "customer", "colleague", "friend"}
                inside = WORLD.applies(rule, task)
                kind = "inside" if inside else "near" if known else "other"
                cells[kind].append(not _violates(prompt, answer, rule))
    return Follows(**{kind: float(np.mean(values)) for kind, values in cells.items()})


def in_the_world() -> Table:
    """Measure adherence and leakage of all systems in the mail world."""
    # Systems that remember the same rules share their answers.
    loaded = load_policy(_policy(), wrap=lambda model: CachedModel(model, ResponseCache()))
    settings = [make_setting(seed) for seed in SEEDS]
    figures = {
        name: [follows(system, setting, loaded) for setting in settings]
        for name, system in SYSTEMS.items()
    }
    base, pasted = figures["no memory"], figures["all rules pasted in"]
    rows = []
    for name, results in figures.items():
        near = _less(results, base, "near")
        other = _less(results, base, "other")
        worst = _less(pasted, base, "near"), _less(pasted, base, "other")
        rows.append(
            (
                name,
                _mean([result.inside for result in results]),
                _mean(near),
                _mean(other),
                f"{(np.mean(near) + np.mean(other)) / sum(map(np.mean, worst)):.2f}",
            )
        )
    return Table(
        "memory-scope world",
        "Scope of rules in the mail world",
        ("system", "adherence in scope", "leakage near", "leakage elsewhere", "over pasting all"),
        tuple(rows),
        f"{4 * RULES_PER_SCOPE} rules, two for each kind of recipient. Adherence: share of answers "
        "to requests in scope that follow a rule. Leakage: share of answers out of scope that "
        "follow it, less that without memory; near: to another kind of recipient that rules are "
        "about; elsewhere: to recipients of no rule. The world's small model answers "
        f"{4 * REQUESTS_PER_SCOPE + OTHER_REQUESTS} requests for each of {len(SEEDS)} seeds. Mean "
        "and range over the seeds. Name spaces: clusters of the stored requests.",
    )


def _less(results: Sequence[Follows], base: Sequence[Follows], kind: str) -> list[float]:
    return [
        getattr(one, kind) - getattr(other, kind) for one, other in zip(results, base, strict=True)
    ]


def _mean(values: Sequence[float]) -> str:
    return f"{np.mean(values):.2f} [{min(values):.2f}, {max(values):.2f}]"


def decisions() -> Table:
    """Measure scope decisions on rules and requests in natural language."""
    rules = json.loads(DATA.read_text(encoding="utf-8"))
    rows = []
    for embedder in ("hashed", "sentence"):
        for name, words, examples in (
            ("where in words", True, False),
            ("2 + 2 examples", False, True),
            ("both", True, True),
        ):
            verdicts = _verdicts(rules, embedder, words=words, examples=examples)
            rows.append((f"{name}, {embedder}", *_precision_and_recall(verdicts)))
    rows.append(_nearest_row(rules))
    return Table(
        "memory-scope decisions",
        "Scope decisions in natural language",
        ("scope", "recall inside", "leakage near", "leakage elsewhere", "precision", "unsure"),
        tuple(rows),
        f"{len(rules)} rules with 10 requests each: four inside, three near, three others, in "
        "varied wording, none of which was used in fitting the classifier. 95 % exact intervals.",
    )


def _verdicts(
    rules: Sequence[Mapping[str, Any]], embedder: str, *, words: bool, examples: bool
) -> dict[str, list[str]]:
    stored = [text for rule in rules for text in (*rule["inside"], *rule["outside"])]
    classifier = ScopeClassifier(get_embedder(embedder, stored), stored)
    verdicts: dict[str, list[str]] = {"inside": [], "near": [], "other": []}
    for rule in rules:
        scope = Scope(
            where=rule["where"] if words else None,
            inside=tuple(rule["inside"]) if examples else (),
            outside=tuple(rule["outside"]) if examples else (),
        )
        for kind, requests in rule["requests"].items():
            for request in requests:
                (decision,) = run_sync(classifier.decide([scope], request))
                verdicts[kind].append(decision.verdict)
    return verdicts


def _nearest_row(rules: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Return the decisions of a nearest neighbour among all rules."""
    embedder = get_embedder("sentence")

    def embed(texts: Iterable[str]) -> Any:
        return run_sync(embedder.embed(list(texts)))

    keys = [embed([rule["text"], rule["where"], *rule["inside"]]) for rule in rules]
    verdicts: dict[str, list[str]] = {"inside": [], "near": [], "other": []}
    for index, rule in enumerate(rules):
        for kind, requests in rule["requests"].items():
            for vector in embed(requests):
                best = int(np.argmax([(key @ vector).max() for key in keys]))
                verdicts[kind].append("inside" if best == index else "outside")
    return ("nearest rule, sentence", *_precision_and_recall(verdicts))


def _precision_and_recall(verdicts: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    hits = {kind: sum(one == "inside" for one in row) for kind, row in verdicts.items()}
    every = [one for row in verdicts.values() for one in row]
    return (
        *(_interval(hits[kind], len(verdicts[kind])) for kind in ("inside", "near", "other")),
        _interval(hits["inside"], sum(hits.values())),
        f"{sum(one == 'unsure' for one in every) / len(every):.2f}",
    )


def _interval(count: int, total: int) -> str:
    estimate = exact_interval(count, total)
    return f"{estimate.value:.2f} [{estimate.low:.2f}, {estimate.high:.2f}]"


def tables() -> list[Table]:
    """Measure both tables."""
    return [in_the_world(), decisions()]
