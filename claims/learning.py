"""Where methods are compared: a world, its model as the policy, people who react, the truth."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backtalk.decode import Sample
from backtalk.feedback import Demonstration, Interaction, Message
from backtalk.feedback.case import Case
from backtalk.feedback.conversions import views
from backtalk.feedback.views import Pair
from backtalk.learn import get_method
from backtalk.learn.online.feedback_sources import InMemoryTrainingSet, RewardJudge
from backtalk.learn.online.loop import OnlineConfig, OnlineLearner
from backtalk.models import Request, Sampling
from backtalk.models.run_sync import run_sync
from backtalk.models.spec import LocalSpec
from backtalk.policy import Policy, load_policy, save_policy
from backtalk.rewards import Reward
from backtalk.run import Run
from backtalk.store import Store
from backtalk.worlds import get_world
from backtalk.worlds.annotators import Person, make_crowd
from backtalk.worlds.small import small_model_folder
from backtalk.worlds.world import Assessment, Rule, Split

Chat = tuple[Message, ...]
Array = NDArray[np.float64]


class Trial:
    """One comparison of methods: all of them begin from the same policy and the same feedback.

    Parameters
    ----------
    world
        Where it takes place.
    seed
        Decides prompts, answers, people's luck and trainings.
    store
        Where everything is kept.

    Attributes
    ----------
    policy
        The world's small language model, as it is: what learns.
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

    def answered(
        self, prompts: int | Sequence[Chat], drafts: int, *, policy: Policy | None = None
    ) -> list[Interaction]:
        """Return interactions: so many prompts to train on, each with drafts of a policy.

        Parameters
        ----------
        prompts
            How many of the world's, or which.
        drafts
            How many answers there are to each.
        policy
            Whose; the policy that learns, if left out.
        """
        selected = (
            self.world.prompts("train", prompts, seed=self.seed)
            if isinstance(prompts, int)
            else prompts
        )
        texts = self.sampled(policy or self.policy, selected, drafts, seed=self.seed + 1_000)
        return [Interaction.of(prompt, *row) for prompt, row in zip(selected, texts, strict=True)]

    def feedback(
        self, interactions: Sequence[Interaction], *kinds: str, **manner: Any
    ) -> InMemoryTrainingSet:
        """Return what eight people say of the interactions, one of them of each.

        Parameters
        ----------
        talks
            What they react to.
        kinds
            In which ways.
        manner
            How they are; see :class:`~backtalk.worlds.annotators.Person`.
        """
        people = make_crowd(self.world.name, 8, seed=self.seed, **manner)
        return self.training_set(list(people.annotate(interactions, kinds)))

    def training_set(self, cases: Sequence[Case]) -> InMemoryTrainingSet:
        """Return these cases as what is learned from."""
        return InMemoryTrainingSet(self.store, cases)

    def learned(
        self,
        method: str,
        feedback: InMemoryTrainingSet,
        *,
        policy: Policy | None = None,
        **options: Any,
    ) -> Policy:
        """Return what a method makes of the policy that learns, or of another one."""
        with Run(seed=self.seed) as run:
            learned = run_sync(
                get_method(method).learn(policy or self.policy, feedback, run, **options)
            )
        save_policy(self.store, learned)
        return learned

    def online(
        self,
        method: str,
        judge: Reward,
        plan: OnlineConfig,
        *,
        prompts: int,
        pairing: str = "best-worst",
        rates: bool = False,
        policy: Policy | None = None,
        **options: Any,
    ) -> list[Policy]:
        """Return the policy after each round of learning from a judge of its own answers."""
        selected = self.world.prompts("train", prompts, seed=self.seed)
        held_out = self.world.prompts("held-out", 20, seed=self.seed)
        with Run(seed=self.seed) as run:
            online = OnlineLearner(
                get_method(method),
                self.store,
                run,
                feedback_source=RewardJudge(judge, pair_selection=pairing, rates=rates),
                judge=judge,
                config=plan,
                options=options,
            )
            result = run_sync(online.learn(policy or self.policy, selected, held_out))
        return list(result.policies)

    def sampled(
        self, policy: Policy, prompts: Sequence[Chat], count: int, *, seed: int = 0
    ) -> list[list[str]]:
        """Return so many answers of a policy to each prompt."""
        model = load_policy(policy, self.store.artifacts).model
        requests = [
            Request(
                messages=policy.messages(prompt),
                sampling=policy.decoder.base_sampling,
                sample_index=i,
                seed=seed,
            )
            for prompt in prompts
            for i in range(count)
        ]
        texts = [completion.text for completion in run_sync(model.generate(requests))]
        return [texts[start : start + count] for start in range(0, len(texts), count)]

    def preferred(self, feedback: InMemoryTrainingSet) -> InMemoryTrainingSet:
        """Return the preferred answer of each compared pair, as something to imitate."""
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

    def truths(
        self,
        policy: Policy,
        *,
        split: Split = "held-out",
        prompts: int | Sequence[Chat] = 200,
        samples: int = 2,
        rules: Sequence[Rule] = (),
    ) -> list[list[Assessment]]:
        """Return the truth about samples of a policy, a row a prompt.

        Parameters
        ----------
        policy
            What answers.
        split, prompts
            How many prompts of which split, or which prompts.
        samples
            How many answers there are to each.
        rules
            The standing instructions in force.
        """
        selected = (
            self.world.prompts(split, prompts, seed=self.seed)
            if isinstance(prompts, int)
            else prompts
        )
        texts = self.sampled(policy, selected, samples, seed=self.seed + 2_000)
        return [
            [self.world.score(prompt, text, rules) for text in row]
            for prompt, row in zip(selected, texts, strict=True)
        ]

    def utilities(self, policy: Policy, **how: Any) -> Array:
        """Return the true utility of samples, ``(prompts, samples)``; see :meth:`truths`."""
        return np.array([[one.utility for one in row] for row in self.truths(policy, **how)])

    def utility(self, policy: Policy, **how: Any) -> float:
        """Return the mean true utility of samples; see :meth:`truths`."""
        return float(self.utilities(policy, **how).mean())

    def aspect(self, policy: Policy, name: str, **how: Any) -> float:
        """Return the mean of one aspect of the true utility; see :meth:`truths`."""
        return float(
            np.mean([[one.aspects[name] for one in row] for row in self.truths(policy, **how)])
        )

    def win_rate(self, policy: Policy, other: Policy, **how: Any) -> float:
        """Return how often a policy's sample is truly better, ties half, in [0, 1]."""
        ours, theirs = self.utilities(policy, **how), self.utilities(other, **how)
        return float(((ours > theirs) + 0.5 * (ours == theirs)).mean())

    def obeys(
        self, policy: Policy, rule: Rule, *, inside: bool = True, prompts: int = 100
    ) -> float:
        """Return the share of answers that follow a rule where it holds, or where it does not.

        Parameters
        ----------
        policy
            What answers.
        rule
            Which rule. Outside of its scope it is followed where the answer would do were it in
            force everywhere.
        inside
            Whether prompts in its scope are asked.
        prompts
            How many.
        """
        anywhere = replace(rule, scope="all")
        selected = self.scoped(rule, prompts, inside=inside)
        texts = self.sampled(policy, selected, 2, seed=self.seed + 2_000)
        return float(
            np.mean(
                [
                    not self._broken(prompt, text, anywhere)
                    for prompt, row in zip(selected, texts, strict=True)
                    for text in row
                ]
            )
        )

    def scoped(
        self, rule: Rule, count: int, *, inside: bool, split: Split = "held-out"
    ) -> list[Chat]:
        """Return so many prompts for which a rule holds, or does not."""
        world = self.world
        results = [
            prompt
            for prompt in world.prompts(split, 10 * count, seed=self.seed)
            if world.applies(rule, world.parse_prompt(prompt)) == inside
        ]
        return results[:count]

    def _broken(self, prompt: Chat, text: str, rule: Rule) -> bool:
        """Return true if an answer has an issue that it would not have without the rule."""
        default, ruled = (
            {(issue.label, issue.advice) for issue in self.world.score(prompt, text, rules).issues}
            for rules in ((), (rule,))
        )
        return bool(ruled - default)


@contextmanager
def trial(world: str, seed: int) -> Iterator[Trial]:
    """Open a trial in a folder of its own, which goes when it is over."""
    with TemporaryDirectory() as folder, Store(Path(folder) / "store.db") as store:
        yield Trial(world, seed, store)
