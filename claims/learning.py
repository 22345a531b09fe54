"""Comparison of methods in a world: its small model as policy, simulated people, true utility."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from backtalk.decode import Sample
from backtalk.feedback import Demonstration, Interaction
from backtalk.feedback.case import Case
from backtalk.feedback.conversions import views
from backtalk.feedback.interaction import Prompt
from backtalk.feedback.views import CritiqueView, Pair
from backtalk.learn import get_method
from backtalk.learn.online.feedback_sources import InMemoryTrainingSet, RewardJudge
from backtalk.learn.online.loop import OnlineConfig, OnlineLearner
from backtalk.models import Request, Sampling
from backtalk.models.run_sync import run_sync
from backtalk.models.spec import LocalSpec
from backtalk.policy import Policy, load_policy, save_policy
from backtalk.rewards import Reward
from backtalk.run import Run
from backtalk.stats.validation import Floats
from backtalk.store import Store
from backtalk.worlds import get_world
from backtalk.worlds.annotators import Person, make_crowd
from backtalk.worlds.small import small_model_folder
from backtalk.worlds.world import Assessment, Rule, Split


class Trial:
    """Comparison of methods that start from the same policy and learn from the same feedback.

    Parameters
    ----------
    world : str
        Name of the world.
    seed : int
        Seed of prompts, samples, feedback and training.
    store : Store
        Store of policies and artifacts.

    Attributes
    ----------
    policy : Policy
        Initial policy: the world's small language model, untrained.
    """

    def __init__(self, world: str, seed: int, store: Store) -> None:
        self.world = get_world(world)
        self.seed = seed
        self.store = store
        sampling = Sampling(max_tokens=self.world.max_tokens)
        self.policy = Policy(
            model=LocalSpec(model=str(small_model_folder(world))),
            decoder=Sample(sampling=sampling),
            name="base",
        )
        save_policy(store, self.policy)

    def sample_interactions(
        self, prompts: int | Sequence[Prompt], count: int, *, policy: Policy | None = None
    ) -> list[Interaction]:
        """Return an interaction for each prompt, with samples of a policy as responses.

        Parameters
        ----------
        prompts : int or sequence of Prompt
            Number of training prompts of the world, or the prompts themselves.
        count : int
            Number of samples per prompt.
        policy : Policy, optional
            Policy that is sampled; default: the initial policy.
        """
        selected = (
            self.world.prompts("train", prompts, seed=self.seed)
            if isinstance(prompts, int)
            else prompts
        )
        texts = self.sample(policy or self.policy, selected, count, seed=self.seed + 1_000)
        return [Interaction.of(prompt, *row) for prompt, row in zip(selected, texts, strict=True)]

    def feedback(
        self, interactions: Sequence[Interaction], *kinds: str, **person_options: Any
    ) -> InMemoryTrainingSet:
        """Return the feedback of eight simulated people, one of them for each interaction.

        Parameters
        ----------
        interactions : sequence of Interaction
            Interactions to annotate.
        *kinds : str
            Kinds of feedback.
        **person_options : Any
            Options of the people; see :class:`~backtalk.worlds.annotators.Person`.
        """
        people = make_crowd(self.world.name, 8, seed=self.seed, **person_options)
        return self.training_set(list(people.annotate(interactions, kinds)))

    def training_set(self, cases: Sequence[Case]) -> InMemoryTrainingSet:
        """Return a training set of these cases."""
        return InMemoryTrainingSet(self.store, cases)

    def shuffled_critiques(self, critiques: Sequence[CritiqueView]) -> InMemoryTrainingSet:
        """Return the critiques with each text moved to another response, for controls."""
        order = np.random.default_rng(self.seed).permutation(len(critiques))
        texts = {
            int(to): critiques[int(origin)].critique
            for to, origin in zip(order, np.roll(order, 1), strict=True)
        }
        return self.training_set(
            [
                critique.model_copy(update={"critique": texts[i]}).records()
                for i, critique in enumerate(critiques)
            ]
        )

    def learn(
        self,
        method: str,
        feedback: InMemoryTrainingSet,
        *,
        policy: Policy | None = None,
        **options: Any,
    ) -> Policy:
        """Return a policy trained by a method.

        Parameters
        ----------
        method : str
            Name of the method.
        feedback : InMemoryTrainingSet
            Training data.
        policy : Policy, optional
            Policy to train; default: the initial policy.
        **options : Any
            Options of the method.
        """
        with Run(seed=self.seed) as run:
            learned = run_sync(
                get_method(method).learn(policy or self.policy, feedback, run, **options)
            )
        save_policy(self.store, learned)
        return learned

    def learn_online(
        self,
        method: str,
        judge: Reward,
        config: OnlineConfig,
        *,
        prompts: int,
        pair_selection: str = "best-worst",
        rates: bool = False,
        policy: Policy | None = None,
        **options: Any,
    ) -> list[Policy]:
        """Return the policy after each round of online learning.

        Parameters
        ----------
        method : str
            Name of the method.
        judge : Reward
            Reward that compares the policy's samples.
        config : OnlineConfig
            Configuration of the rounds.
        prompts : int
            Number of training prompts.
        pair_selection : str, default "best-worst"
            Selection of compared pairs; see
            :class:`~backtalk.learn.online.feedback_sources.RewardJudge`.
        rates : bool, default False
            If true, the judge also rates each sample.
        policy : Policy, optional
            Policy to train; default: the initial policy.
        **options : Any
            Options of the method.
        """
        selected = self.world.prompts("train", prompts, seed=self.seed)
        held_out = self.world.prompts("held-out", 20, seed=self.seed)
        with Run(seed=self.seed) as run:
            learner = OnlineLearner(
                get_method(method),
                self.store,
                run,
                feedback_source=RewardJudge(judge, pair_selection=pair_selection, rates=rates),
                judge=judge,
                config=config,
                options=options,
            )
            result = run_sync(learner.learn(policy or self.policy, selected, held_out))
        return list(result.policies)

    def sample(
        self, policy: Policy, prompts: Sequence[Prompt], count: int, *, seed: int = 0
    ) -> list[list[str]]:
        """Return samples of a policy, one list for each prompt.

        Parameters
        ----------
        policy : Policy
            Policy that is sampled.
        prompts : sequence of Prompt
            Prompts.
        count : int
            Number of samples per prompt.
        seed : int, default 0
            Seed of the samples.
        """
        loaded = load_policy(policy, self.store.artifacts, store=self.store)
        messages, _ = run_sync(loaded.messages(prompts))
        requests = [
            Request(
                messages=message_list,
                sampling=policy.decoder.base_sampling,
                sample_index=i,
                seed=seed,
            )
            for message_list in messages
            for i in range(count)
        ]
        texts = [completion.text for completion in run_sync(loaded.model.generate(requests))]
        return [texts[start : start + count] for start in range(0, len(texts), count)]

    def preferred_demonstrations(self, feedback: InMemoryTrainingSet) -> InMemoryTrainingSet:
        """Return the preferred response of each compared pair as a demonstration, except ties."""
        person = Person("preferred", world_name=self.world.name)
        cases = []
        for case in feedback.cases():
            texts = tuple(
                Demonstration(
                    interaction=case.interaction.id, annotator=person.annotator, text=pair.chosen
                )
                for pair in views(case, Pair)
                if not pair.tie
            )
            cases.append(Case(case.interaction, texts))
        return self.training_set(cases)

    def assess(
        self,
        policy: Policy,
        *,
        split: Split = "held-out",
        prompts: int | Sequence[Prompt] = 200,
        samples: int = 2,
        rules: Sequence[Rule] = (),
    ) -> list[list[Assessment]]:
        """Return the world's assessment of samples of a policy, one list for each prompt.

        Parameters
        ----------
        policy : Policy
            Policy that is sampled.
        split : {"train", "held-out", "out-of-scope"}, default "held-out"
            Split of the prompts.
        prompts : int or sequence of Prompt, default 200
            Number of prompts of the split, or the prompts themselves.
        samples : int, default 2
            Number of samples per prompt.
        rules : sequence of Rule, default ()
            Standing instructions in force.
        """
        selected = (
            self.world.prompts(split, prompts, seed=self.seed)
            if isinstance(prompts, int)
            else prompts
        )
        texts = self.sample(policy, selected, samples, seed=self.seed + 2_000)
        return [
            [self.world.score(prompt, text, rules) for text in row]
            for prompt, row in zip(selected, texts, strict=True)
        ]

    def utilities(self, policy: Policy, **selection: Any) -> Floats:
        """Return the true utility of samples, shape ``(prompts, samples)``; see :meth:`assess`."""
        rows = self.assess(policy, **selection)
        return np.array([[assessment.utility for assessment in row] for row in rows])

    def utility(self, policy: Policy, **selection: Any) -> float:
        """Return the mean true utility of samples, in [0, 1]; see :meth:`assess`."""
        return float(self.utilities(policy, **selection).mean())

    def mean_aspect(self, policy: Policy, name: str, **selection: Any) -> float:
        """Return the mean of one aspect of the true utility.

        Parameters
        ----------
        policy : Policy
            Policy that is sampled.
        name : str
            Name of the aspect.
        **selection : Any
            See :meth:`assess`.
        """
        rows = self.assess(policy, **selection)
        return float(np.mean([[assessment.aspects[name] for assessment in row] for row in rows]))

    def win_rate(self, policy: Policy, opponent: Policy, **selection: Any) -> float:
        """Return the share of samples that are truly better than the opponent's; ties count half.

        Parameters
        ----------
        policy, opponent : Policy
            Policies that are sampled.
        **selection : Any
            See :meth:`assess`.
        """
        a, b = self.utilities(policy, **selection), self.utilities(opponent, **selection)
        return float(((a > b) + 0.5 * (a == b)).mean())

    def compliance(
        self, policy: Policy, rule: Rule, *, in_scope: bool = True, prompts: int = 100
    ) -> float:
        """Return the share of samples that follow a rule, in or out of its scope.

        Parameters
        ----------
        policy : Policy
            Policy that is sampled.
        rule : Rule
            Standing instruction. Out of its scope, a sample follows the rule if it has no issue
            that the rule would add if it were in force for all prompts.
        in_scope : bool, default True
            If true, use prompts in the scope of the rule; otherwise prompts out of it.
        prompts : int, default 100
            Number of prompts, with two samples each.
        """
        global_rule = replace(rule, scope="all")
        selected = self.prompts_for_rule(rule, prompts, in_scope=in_scope)
        texts = self.sample(policy, selected, 2, seed=self.seed + 2_000)
        return float(
            np.mean(
                [
                    not self._violates(prompt, text, global_rule)
                    for prompt, row in zip(selected, texts, strict=True)
                    for text in row
                ]
            )
        )

    def prompts_for_rule(
        self, rule: Rule, count: int, *, in_scope: bool, split: Split = "held-out"
    ) -> list[Prompt]:
        """Return prompts in or out of the scope of a rule.

        Parameters
        ----------
        rule : Rule
            Standing instruction.
        count : int
            Number of prompts.
        in_scope : bool
            If true, return prompts in the scope of the rule; otherwise prompts out of it.
        split : {"train", "held-out", "out-of-scope"}, default "held-out"
            Split of the prompts.
        """
        world = self.world
        results = [
            prompt
            for prompt in world.prompts(split, 10 * count, seed=self.seed)
            if world.applies(rule, world.parse_prompt(prompt)) == in_scope
        ]
        return results[:count]

    def _violates(self, prompt: Prompt, text: str, rule: Rule) -> bool:
        """Return true if a response has an issue that it would not have without the rule."""
        without_rule, with_rule = (
            {(issue.label, issue.advice) for issue in self.world.score(prompt, text, rules).issues}
            for rules in ((), (rule,))
        )
        return bool(with_rule - without_rule)


@contextmanager
def open_trial(world: str, seed: int) -> Iterator[Trial]:
    """Open a trial whose store is in a temporary folder."""
    with TemporaryDirectory() as folder, Store(Path(folder) / "store.db") as store:
        yield Trial(world, seed, store)
