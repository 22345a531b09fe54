"""Comparison of methods on a real language model: constrained writing by SmolLM2-135M-Instruct."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from backtalk.decode import Sample
from backtalk.feedback import Interaction
from backtalk.feedback.interaction import Prompt
from backtalk.feedback.views import SFTExample
from backtalk.learn.online.feedback_sources import InMemoryTrainingSet
from backtalk.models import Sampling
from backtalk.models.spec import LocalSpec
from backtalk.policy import Policy, save_policy
from backtalk.store import Store
from claims.learning import Trial
from claims.writing import Writing, WritingAssessment, annotate

MODEL = "SmolLM2-135M-Instruct"
STEPS = 16
OPTIONS: dict[str, Any] = {
    "adapter": "lora",
    "batch_size": 16,
    "epochs": 100.0,
    "max_steps": STEPS,
    "learning_rate_multiplier": 5.0,
}
"""Training of 16 steps of 16 trees with a low-rank adapter, unless a claim states otherwise."""
HELD_OUT = 160
"""Number of held-out prompts on which a policy is assessed."""


class RealTrial(Trial):
    """Trial in constrained writing. Its policy is the real model, before any learning."""

    def __init__(self, seed: int, store: Store) -> None:
        self.world = Writing()
        self.seed = seed
        self.store = store
        sampling = Sampling(max_tokens=self.world.max_tokens, temperature=0.7)
        self.policy = Policy(
            model=LocalSpec(model="smollm2"), decoder=Sample(sampling=sampling), name="base"
        )
        save_policy(store, self.policy)

    def feedback(self, interactions: Sequence[Interaction], *kinds: str) -> InMemoryTrainingSet:
        """Return the true feedback of a simulated person on interactions.

        Parameters
        ----------
        interactions : sequence of Interaction
            Interactions to annotate.
        *kinds : str
            Kinds of feedback; see :func:`claims.writing.annotate`.
        """
        return self.training_set(list(annotate(self.world, interactions, kinds)))

    def demonstrations(self, examples: Iterable[tuple[Prompt, str]]) -> InMemoryTrainingSet:
        """Return a training set of prompts with responses to imitate."""
        return self.training_set(
            [
                SFTExample(prompt=prompt, completion=text).records()
                for prompt, text in examples
                if text
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
        """Return a policy trained by a method with :data:`OPTIONS`.

        Parameters
        ----------
        method : str
            Name of the method.
        feedback : InMemoryTrainingSet
            Training data.
        policy : Policy, optional
            Policy to train; default: the initial policy.
        **options : Any
            Further options of the method, which come first.
        """
        return super().learn(method, feedback, policy=policy, **OPTIONS | options)

    def held_out_assessments(self, policy: Policy) -> list[WritingAssessment]:
        """Return the assessment of one answer to each held-out prompt."""
        rows = self.assess(policy, prompts=HELD_OUT, samples=1)
        return [assessment for (assessment,) in rows]

    def value(self, policy: Policy) -> float:
        """Return the mean share of what was requested that held-out answers do, in [0, 1]."""
        return float(np.mean([item.utility for item in self.held_out_assessments(policy)]))


@contextmanager
def open_real_trial(seed: int) -> Iterator[RealTrial]:
    """Open a trial whose store is in a temporary folder."""
    with TemporaryDirectory() as folder, Store(Path(folder) / "store.db") as store:
        yield RealTrial(seed, store)
