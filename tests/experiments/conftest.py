"""Experiments on a store with simulated traffic."""

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
    """Project that serves a policy, and a running experiment in it."""

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

    def reader(self):
        return ExperimentReader(self.store, self.experiment.name)

    def interaction(self, arm, probabilities=None, **fields):
        """Return an interaction with a response of an arm."""
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
        """Return an interaction with a response of each of two arms."""
        interaction = self.interaction(first)
        answers = tuple(
            Response(id=str(i), text=f"answer {i}", policy=arm)
            for i, arm in enumerate((first, second))
        )
        return interaction.model_copy(update={"responses": answers, "policy": None})

    def preference(self, interaction, verdict):
        return Preference(interaction=interaction.id, annotator=ADA, a="0", b="1", verdict=verdict)

    def traffic(self, rates, count, *, state=None):
        """Add interactions drawn by the current allocation, each with a thumb.

        ``rates`` maps each arm to its probability of a thumb up.
        """
        state = state or self.reader().refresh()
        probabilities = allocate(state).probabilities
        arms = list(probabilities)
        records = []
        for arm in self.rng.choice(arms, count, p=list(probabilities.values())):
            interaction = self.interaction(str(arm), probabilities)
            records += [interaction, self.thumb(interaction, self.rng.random() < rates[str(arm)])]
        self.store.add(*records)


def make_trial(store, *, candidates=1, actor="ada", name="trial", **fields):
    """Save and promote a control, start an experiment with candidates, and return both."""
    control = policy("control")
    save_policy(store, control)
    promote(store, control, actor=actor)
    policies = [policy(f"candidate {i}") for i in range(candidates)]
    for candidate in policies:
        save_policy(store, candidate)
    experiment = Experiment(
        name=name,
        control=control.id,
        candidates=tuple(candidate.id for candidate in policies),
        **fields,
    )
    start(store, experiment, actor=actor)
    return Trial(store, experiment, np.random.default_rng(0))


@pytest.fixture
def store():
    with Store(":memory:") as opened:
        yield opened
