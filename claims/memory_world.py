"""Users of a world who teach a memory: requests, answers with recall, corrections, and scores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from backtalk.decode import Sample
from backtalk.feedback import Interaction
from backtalk.feedback.case import Case
from backtalk.feedback.interaction import Prompt
from backtalk.learn import get_method
from backtalk.learn.training_set import TrainingSet
from backtalk.memory.recall import LoadedMemory
from backtalk.models import Request, Sampling, load_model
from backtalk.models.run_sync import run_sync
from backtalk.models.spec import LocalSpec
from backtalk.policy import Policy
from backtalk.run import Run
from backtalk.store import Store
from backtalk.worlds import get_world
from backtalk.worlds.annotators import Person, give_feedback
from backtalk.worlds.small import small_model_folder
from backtalk.worlds.world import Rule, Split
from claims.controls import shuffled

TEMPERATURE = 0.3
"""Temperature of the answers, as of an assistant in use."""


class MemoryWorld:
    """World whose small model answers with what a memory recalls.

    Parameters
    ----------
    world : str
        Name of the world.
    seed : int
        Seed of requests, answers and feedback.
    store : Store
        Store of interactions, feedback and memories.
    """

    def __init__(self, world: str, seed: int, store: Store) -> None:
        self.world = get_world(world)
        self.seed = seed
        self.store = store
        sampling = Sampling(max_tokens=self.world.max_tokens, temperature=TEMPERATURE)
        self.policy = Policy(
            model=LocalSpec(model=str(small_model_folder(world))), decoder=Sample(sampling=sampling)
        )
        self._model = load_model(self.policy.model)

    def person(self, rules: Sequence[Rule] = (), **options: Any) -> Person:
        """Return a user with standing wishes.

        Parameters
        ----------
        rules : sequence of Rule, default ()
            Wishes.
        **options : Any
            Further fields of :class:`~backtalk.worlds.annotators.Person`.
        """
        name = options.pop("name", "ada")
        return Person(name, world_name=self.world.name, rules=tuple(rules), **options)

    def prompts(self, count: int, *, split: Split = "train", start: int = 0) -> list[Prompt]:
        """Return requests of a split.

        Parameters
        ----------
        count : int
            Number of requests.
        split : {"train", "held-out", "out-of-scope"}, default "train"
            Split.
        start : int, default 0
            Number of requests of the split that are left out before.
        """
        return list(self.world.prompts(split, start + count, seed=self.seed)[start:])

    def answer(
        self,
        policy: Policy,
        prompts: Sequence[Prompt],
        *,
        user: str | None = "ada",
        seed: int = 0,
        remembered: Sequence[str] = (),
    ) -> list[str]:
        """Return a sample for each request, with the entries that the policy's memory recalls.

        Parameters
        ----------
        policy : Policy
            Policy that answers.
        prompts : sequence of Prompt
            Requests.
        user : str or None, default "ada"
            User who asks.
        seed : int, default 0
            Seed of the samples.
        remembered : sequence of str, default ()
            Texts that every prompt holds beside.
        """
        memory = None if policy.memory is None else LoadedMemory(self.store, policy.memory)
        requests = []
        for prompt in prompts:
            texts = list(remembered)
            if memory is not None:
                texts += run_sync(memory.recall(prompt, user=user)).texts
            requests.append(
                Request(
                    messages=policy.messages(prompt, remembered=texts),
                    sampling=policy.decoder.base_sampling,
                    seed=1_000 * self.seed + seed,
                )
            )
        return [completion.text for completion in run_sync(self._model.generate(requests))]

    def interactions(
        self, prompts: Sequence[Prompt], texts: Sequence[str], *, user: str = "ada"
    ) -> list[Interaction]:
        """Return answered requests of a user.

        Parameters
        ----------
        prompts, texts : sequence
            Requests and answers.
        user : str, default "ada"
            User who asked.
        """
        return [
            Interaction.of(prompt, text, user=user)
            for prompt, text in zip(prompts, texts, strict=True)
        ]

    def teach(
        self,
        person: Person,
        interactions: Sequence[Interaction],
        *kinds: str,
        shuffle: bool = False,
    ) -> list[Case]:
        """Store answered requests with a person's feedback, and return both.

        Parameters
        ----------
        person : Person
            Person who judges.
        interactions : sequence of Interaction
            Answered requests.
        *kinds : str
            Kinds of feedback.
        shuffle : bool, default False
            If true, the feedback is stored with the answers to other requests, for controls. The
            only feedback of all requests is not stored at all.
        """
        cases = [
            Case(one, tuple(item for kind in kinds for item in give_feedback(person, kind, one)))
            for one in interactions
        ]
        stored = cases
        if shuffle and sum(bool(case.feedback) for case in cases) > 1:
            stored = shuffled(cases, seed=self.seed)
        elif shuffle:
            stored = [Case(one) for one in interactions]
        self.store.add_cases(stored)
        return cases

    def learn(self, method: str, policy: Policy | None = None, **options: Any) -> Policy:
        """Return the policy that a method learns from all feedback in the store.

        Parameters
        ----------
        method : str
            Name of the method.
        policy : Policy, optional
            Policy to improve; default: the small model alone.
        **options : Any
            Options of the method.
        """
        with Run(seed=self.seed) as run:
            feedback = TrainingSet(self.store, split="all")
            return run_sync(
                get_method(method).learn(policy or self.policy, feedback, run, **options)
            )

    def needing(
        self, rules: Sequence[Rule], count: int, *, split: Split = "train", start: int = 0
    ) -> list[Prompt]:
        """Return requests to which one of some rules applies.

        Parameters
        ----------
        rules : sequence of Rule
            Rules.
        count : int
            Number of requests.
        split : {"train", "held-out", "out-of-scope"}, default "train"
            Split.
        start : int, default 0
            Number of such requests that are left out before.
        """
        prompts = (
            prompt
            for prompt in self.world.prompts(split, 4 * (start + count), seed=self.seed)
            if self.world.applicable_rules(self.world.parse_prompt(prompt), rules)
        )
        return list(prompts)[start : start + count]

    def follows(self, rule: Rule, prompt: Prompt, text: str) -> bool:
        """Return true if an answer does what a rule asks for, whatever its scope.

        Parameters
        ----------
        rule : Rule
            Rule.
        prompt : Prompt
            Request.
        text : str
            Answer.
        """
        everywhere = replace(rule, scope="all")
        issues = [
            {(issue.label, issue.advice) for issue in self.world.score(prompt, text, rules).issues}
            for rules in ((), (everywhere,))
        ]
        return not issues[1] - issues[0]

    def compliance(
        self, rules: Sequence[Rule], prompts: Sequence[Prompt], texts: Sequence[str]
    ) -> float:
        """Return the share of applicable rules that answers follow, in [0, 1].

        Parameters
        ----------
        rules : sequence of Rule
            Rules of the user who asked.
        prompts, texts : sequence
            Requests and answers.
        """
        results = [
            self.follows(rule, prompt, text)
            for prompt, text in zip(prompts, texts, strict=True)
            for rule in self.world.applicable_rules(self.world.parse_prompt(prompt), rules)
        ]
        return float(np.mean(results))


@contextmanager
def open_memory_world(world: str, seed: int) -> Iterator[MemoryWorld]:
    """Open a world with a store in a temporary folder."""
    with TemporaryDirectory() as folder, Store(Path(folder) / "store.db") as store:
        yield MemoryWorld(world, seed, store)


def distinct_rules(
    world: MemoryWorld, count: int, *, seed: int, everywhere: bool = False
) -> list[Rule]:
    """Return wishes about different kinds of requests that change the ideal answer.

    Parameters
    ----------
    world : MemoryWorld
        World.
    count : int
        Number of wishes.
    seed : int
        Seed of the selection.
    everywhere : bool, default False
        If true, return wishes about all requests.
    """
    rng = np.random.default_rng([seed, 41])
    tasks = world.world.tasks("train", 100, seed=seed)
    results: list[Rule] = []
    for index in rng.permutation(len(world.world.rules)):
        rule = world.world.rules[int(index)]
        changes = [
            world.world.ideal(task) != world.world.ideal(task, (rule,))
            for task in tasks
            if world.world.applies(rule, task)
        ]
        taken = {one.scope for one in results}
        # A wish that the answers mostly meet anyway shows nothing.
        fits = rule.scope == "all" if everywhere else rule.scope not in {"all", *taken}
        if fits and changes and np.mean(changes) > (0.6 if everywhere else 0.9):
            results.append(rule)
        if len(results) == count:
            break
    return results
