"""Experiments on a store, with answers and feedback made up."""

from dataclasses import dataclass

import numpy as np
import pytest

from backtalk.experiments import Experiment, ExperimentReader, allocate, start
from backtalk.experiments.signals import make_note
from backtalk.feedback import Annotator, Interaction, Label, Message, Preference, Response
from backtalk.models.spec import NamedSpec
from backtalk.policy import Policy, save_policy
from backtalk.promotion import promote
from backtalk.store import Store

ADA = Annotator.human("ada")


def policy(system):
    return Policy(model=NamedSpec(name="writer"), system=system)


@dataclass
class Trial:
    """A project that serves a policy, and an experiment in it."""

    store: Store
    experiment: Experiment
    rng: np.random.Generator
    number: int = 0

    @property
    def control(self):
        return self.experiment.control

    @property
    def candidates(self):
        return self.experiment.candidates

    def follower(self):
        return ExperimentReader(self.store, self.experiment.name)

    def interaction(self, arm, probabilities=None, **fields):
        """An interaction that an arm answered."""
        self.number += 1
        probabilities = probabilities or dict.fromkeys(
            self.experiment.arms, 1 / len(self.experiment.arms)
        )
        note = make_note(self.experiment.name, probabilities)
        return Interaction(
            id=f"talk-{self.number}",
            prompt=(Message.user("Hi"),),
            responses=(Response(id="0", text="x" * (5 + self.number % 7)),),
            policy=arm,
            propensity=probabilities[arm],
            metadata={"gateway": {"experiment": note}},
            **fields,
        )

    def thumb(self, interaction, good):
        return Label(interaction=interaction.id, annotator=ADA, response="0", good=bool(good))

    def pair(self, first, second):
        """An interaction that two arms answered."""
        interaction = self.interaction(first)
        answers = tuple(
            Response(id=str(i), text=f"answer {i}", policy=arm)
            for i, arm in enumerate((first, second))
        )
        return interaction.model_copy(update={"responses": answers, "policy": None})

    def preference(self, interaction, verdict):
        return Preference(interaction=interaction.id, annotator=ADA, a="0", b="1", verdict=verdict)

    def traffic(self, rates, count, *, state=None):
        """Let arms answer by the present allocation, and judge all they say."""
        state = state or self.follower().refresh()
        probabilities = allocate(state).probabilities
        arms = list(probabilities)
        records = []
        for arm in self.rng.choice(arms, count, p=list(probabilities.values())):
            interaction = self.interaction(str(arm), probabilities)
            records += [interaction, self.thumb(interaction, self.rng.random() < rates[str(arm)])]
        self.store.add(*records)


def trial_of(store, *, candidates=1, actor="ada", name="trial", **fields):
    control = policy("control")
    save_policy(store, control)
    promote(store, control, actor=actor)
    others = [policy(f"candidate {i}") for i in range(candidates)]
    for one in others:
        save_policy(store, one)
    experiment = Experiment(
        name=name, control=control.id, candidates=tuple(one.id for one in others), **fields
    )
    start(store, experiment, actor=actor)
    return Trial(store, experiment, np.random.default_rng(0))


@pytest.fixture
def store():
    with Store(":memory:") as result:
        yield result
