"""Learning online: in rounds, from feedback on what the policy of the round before answers."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from backtalk.errors import BacktalkError
from backtalk.evaluate.evaluate import evaluate
from backtalk.evaluate.result import Evaluation
from backtalk.feedback import Annotator, Interaction, Message, Preference, Response, content_id
from backtalk.feedback.judgements import Rating, Scale
from backtalk.feedback.kinds import AnyFeedback
from backtalk.feedback.views import Case, Pair
from backtalk.learn.method import Method
from backtalk.learn.online.pair_selection import find_pairing
from backtalk.learn.online.samplers import answered, find_sampling
from backtalk.learn.training_set import Split, TrainingSet
from backtalk.models import BudgetExceeded
from backtalk.policy import LoadedPolicy, Policy, load_policy, read_policy, save_policy
from backtalk.rewards.protocol import Reward
from backtalk.run import Run
from backtalk.store import Store

Chat = tuple[Message, ...]


class FeedbackSource(Protocol):
    """Who gives feedback on what the policy answers."""

    async def give(self, interactions: Sequence[Interaction], *, seed: int) -> list[Case]:
        """Return the interactions with what is said about them."""
        ...


@dataclass(frozen=True)
class RewardJudge:
    """A reward that gives feedback: preferences by a rule of pairing, or ratings.

    Parameters
    ----------
    reward : Reward
        What scores the answers.
    pairing : str, default "best-worst"
        Which of them are compared; see :data:`~backtalk.learn.online.pair_selection.PAIR_SELECTORS`.
    rates : bool, default False
        Whether it rates each answer, for methods that need scores, in the place of comparing.
    """

    reward: Reward
    pairing: str = "best-worst"
    rates: bool = False

    async def give(self, interactions: Sequence[Interaction], *, seed: int) -> list[Case]:
        """Return the interactions with the judge's preferences or ratings."""
        rule = find_pairing(self.pairing)
        answers = [
            (interaction.prompt, one.text)
            for interaction in interactions
            for one in interaction.responses
        ]
        scored = await self.reward.score(answers)
        std = np.zeros_like(scored.mean) if scored.std is None else scored.std
        ends = np.cumsum([len(interaction.responses) for interaction in interactions])[:-1]
        rng = np.random.default_rng([seed, 7])
        cases = []
        for interaction, means, stds in zip(
            interactions, np.split(scored.mean, ends), np.split(std, ends), strict=True
        ):
            said = (
                self._ratings(interaction, means)
                if self.rates
                else [
                    self._preference(interaction, pair.better, pair.worse, pair.probability)
                    for pair in rule(means, stds, rng)
                ]
            )
            cases.append(Case(interaction, tuple(said)))
        return cases

    @property
    def _annotator(self) -> Annotator:
        return Annotator.model(self.reward.name)

    def _preference(
        self, interaction: Interaction, better: int, worse: int, probability: float
    ) -> AnyFeedback:
        return Preference(
            interaction=interaction.id,
            annotator=self._annotator,
            a=interaction.responses[better].id,
            b=interaction.responses[worse].id,
            verdict="a",
            probability=None if probability == 1 else probability,
        )

    def _ratings(self, interaction: Interaction, scores: np.ndarray[Any, Any]) -> list[AnyFeedback]:
        low, high = self.reward.bounds or (float(scores.min()), float(scores.max()))
        width = (high - low) or 1.0
        return [
            Rating(
                interaction=interaction.id,
                annotator=self._annotator,
                response=response.id,
                value=float(np.clip((score - low) / width, 0, 1)),
                scale=Scale.UNIT,
            )
            for response, score in zip(interaction.responses, scores, strict=True)
        ]


class WaitingForFeedback(BacktalkError):
    """A round cannot go on before people have said enough about its answers."""


@dataclass(frozen=True)
class HumanFeedback:
    """People who give feedback through the store, of any kind, by whatever way it comes in.

    Parameters
    ----------
    store : Store
        Where the answers are put, and what is said of them is found.
    enough : float, default 1.0
        The share of answered prompts that must have feedback, in (0, 1].
    """

    store: Store
    enough: float = 1.0

    async def give(self, interactions: Sequence[Interaction], *, seed: int) -> list[Case]:  # noqa: ARG002
        """Return those interactions that people have said something about.

        Raises
        ------
        AwaitsFeedback
            If these are too few.
        """
        cases = [
            case
            for interaction in interactions
            if (case := self.store.case(interaction.id)).feedback
        ]
        wanted = math.ceil(self.enough * len(interactions))
        if len(cases) < wanted:
            raise WaitingForFeedback(
                f"{len(cases)} of {len(interactions)} answered prompts have feedback, and {wanted} must",
                f"Their answers are in the store, {interactions[0].id!r} the first of them: add what "
                "people say, and give the same command again",
            )
        return cases


class InMemoryTrainingSet(TrainingSet):
    """Cases that are at hand, as what is learned from."""

    def __init__(self, store: Store, given: Sequence[Case], *, split: Split = "train") -> None:
        super().__init__(store, split=split)
        self._given = given

    def cases(self) -> Iterator[Case]:
        """Yield those that have feedback."""
        return (case for case in self._given if case.feedback)

    def every_case(self) -> Iterator[Case]:
        """Yield them all."""
        return iter(self._given)


@dataclass(frozen=True)
class OnlineResult:
    """What came of learning in rounds."""

    policies: tuple[Policy, ...]
    """The policy after each round."""
    evaluations: tuple[Evaluation, ...]
    """Each against the one before, on held-out prompts; none where nothing judged them."""
    ended: str
    """Why there were no more."""

    @property
    def best(self) -> Policy | None:
        """The last policy that was shown to be better than the one before it."""
        shown = [
            policy
            for policy, result in zip(self.policies, self.evaluations, strict=False)
            if result.win_rate.low > 0.5
        ]
        return shown[-1] if shown else None


@dataclass(frozen=True)
class OnlineConfig:
    """How rounds go."""

    rounds: int = 3
    """The most rounds."""
    prompts: int = 200
    """How many prompts are answered in each, drawn from those to train on."""
    samples: int = 4
    """How many answers each gets."""
    until_flat: bool = True
    """Whether to end when a round is not shown to be better than the one before."""
    sampling: str | None = None
    """Who draws the answers, see :data:`~.samplers.SAMPLERS`; as the method says
    where it is left out."""
    mixing: float = 0.125
    """How much the first policy, or the past, counts where it takes part in sampling."""
    teacher: str | None = None
    """A policy, by name or id, that gives each prompt one more answer."""


class OnlineLearner:
    """Learning in rounds: sample from the current policy, get feedback, learn, evaluate, go on.

    All answers and all feedback are kept in the store. Each round learns from its own feedback. The
    reference, where the method has one and none is named, is the first policy (Xiong et al., 2024,
    "Iterative preference learning from human feedback", algorithm 1) or what the policy is by then,
    as the method says; a method's ``base`` is the first policy. It ends after the last round, when
    the budget is spent, when people have not said enough yet, or when the interval of a round's win
    rate over the one before does not lie above one half. Rounds that a run has finished are not
    done again, and one that was begun goes on with the same answers.

    Parameters
    ----------
    method : Method
        What learns.
    store : Store
        Where all of it is kept.
    run : Run
        Gives the seed, the budget and the folder.
    giver : FeedbackSource
        Who gives feedback.
    judge : Reward, optional
        What the rounds are evaluated by; they are not, where it is left out.
    plan : OnlineConfig, optional
        How many rounds, prompts and answers.
    options : Mapping[str, Any], optional
        The method's.
    """

    def __init__(
        self,
        method: Method,
        store: Store,
        run: Run,
        *,
        giver: FeedbackSource,
        judge: Reward | None = None,
        plan: OnlineConfig | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self._method = method
        self._store = store
        self._run = run
        self._giver = giver
        self._judge = judge
        self._plan = plan or OnlineConfig()
        self._options = dict(options or {})

    async def learn(
        self, policy: Policy, prompts: Sequence[Chat], held_out: Sequence[Chat]
    ) -> OnlineResult:
        """Return the policies of all rounds, and how much better each was.

        Parameters
        ----------
        policy : Policy
            What is learned from first.
        prompts, held_out : sequence of Chat
            What is asked, to learn and to evaluate; see
            :func:`~backtalk.learn.training_set.in_split`.

        Raises
        ------
        BacktalkError
            If there is no prompt, or a round finds nothing to learn from.
        """
        if not prompts:
            raise BacktalkError(
                "There is no prompt to learn on",
                "Four fifths of all prompts are: add interactions, or give prompts of your own",
            )
        past = [policy]
        policies: list[Policy] = []
        evaluations: list[Evaluation] = []
        ended = f"after {self._plan.rounds} round{'s' * (self._plan.rounds != 1)}"
        for number in range(self._plan.rounds):
            try:
                learned = await self._round(number, past, prompts)
                result = await self._evaluated(learned, policy, held_out)
            except BudgetExceeded:
                ended = "the budget was spent"
                break
            except WaitingForFeedback as waits:
                ended = f"round {number + 1} waits: {waits}"
                break
            policies.append(learned)
            policy = learned
            past.append(policy)
            if result is None:
                continue
            evaluations.append(result)
            if self._plan.until_flat and result.win_rate.low <= 0.5:
                ended = f"round {number + 1} is not shown to be better than the one before"
                break
        return OnlineResult(tuple(policies), tuple(evaluations), ended)

    async def _evaluated(
        self, learned: Policy, before: Policy, held_out: Sequence[Chat]
    ) -> Evaluation | None:
        if self._judge is None:
            return None
        sides = self._loaded(learned), self._loaded(before)
        result, _ = await evaluate(*sides, held_out, self._judge, run=self._run)
        return result

    async def _round(self, number: int, past: Sequence[Policy], prompts: Sequence[Chat]) -> Policy:
        policy = past[-1]
        noted = _noted(number, policy, self._run)
        if "learned" in noted:
            return read_policy(self._store, noted["learned"])
        if "asked" in noted:
            interactions = [self._store.interaction(id_) for id_ in noted["asked"]]
        else:
            interactions = await self._answered(number, past, prompts)
            self._store.add(*interactions)
            _note(number, policy, self._run, asked=[interaction.id for interaction in interactions])
        cases = await self._giver.give(interactions, seed=self._seed(number))
        self._store.add_cases(cases)
        feedback = InMemoryTrainingSet(self._store, cases)
        options = self._against(number, past) | self._options
        learned = await self._method.learn(policy, feedback, self._run, **options)
        save_policy(self._store, learned)
        _note(number, policy, self._run, learned=learned.id)
        return learned

    def _against(self, number: int, past: Sequence[Policy]) -> dict[str, str]:
        """Return the policies that this round's is held against, as options of the method."""
        moves = self._method.rounds.update_reference_every
        begun = 0 if moves is None else number // moves * moves
        return {
            option: save_policy(self._store, policy)
            for option, policy in {"reference": past[begun], "base": past[0]}.items()
            if option in self._method.options
        }

    async def _answered(
        self, number: int, past: Sequence[Policy], prompts: Sequence[Chat]
    ) -> list[Interaction]:
        """Return some of the prompts with answers."""
        seed, policy = self._seed(number), past[-1]
        rng = np.random.default_rng([self._run.seed, number])
        drawn = rng.permutation(len(prompts))[: self._plan.prompts].tolist()
        rule = find_sampling(self._plan.sampling or self._method.rounds.sampling)
        name = self._plan.teacher
        teachers = [] if name is None else [read_policy(self._store, name)]
        asked = [
            (prompts[i], [*rule(past, self._plan.samples, self._plan.mixing, rng), *teachers])
            for i in drawn
        ]
        for drawer in {one.id: one for _, actor in asked for one in actor}.values():
            save_policy(self._store, drawer)
        with self._run.task(f"round {number + 1}: answering", len(drawn)):
            result = await answered(asked, load=self._loaded, seed=seed)
        return [
            Interaction(
                id=_id(policy, seed, i, responses),
                prompt=prompt,
                responses=responses,
                policy=policy.id,
            )
            for i, (prompt, _), responses in zip(drawn, asked, result, strict=True)
        ]

    def _seed(self, number: int) -> int:
        return self._run.seed * 1_000 + number

    def _loaded(self, policy: Policy) -> LoadedPolicy:
        return load_policy(policy, self._store.artifacts, wrap=self._run.wrap)


def _id(policy: Policy, seed: int, place: int, responses: Sequence[Response]) -> str:
    """Return an id that other answers to the same prompt do not have."""
    said = [part for one in responses for part in (str(one.policy), one.text)]
    return content_id("round", policy.id, str(seed), str(place), *said)


def _noted(number: int, policy: Policy, run: Run) -> dict[str, Any]:
    """Return what a run has noted of a round that began from this policy."""
    results: dict[str, Any] = _notes(run).get(str(number), {})
    return results if results.get("from") == policy.id else {}


def _note(number: int, policy: Policy, run: Run, **what: object) -> None:
    """Note something of a round, where the run is kept."""
    if run.folder is None:
        return
    noted = {"from": policy.id, **_noted(number, policy, run), **what}
    _rounds_of(run.folder).write_text(json.dumps({**_notes(run), str(number): noted}))


def _notes(run: Run) -> dict[str, Any]:
    if run.folder is None or not _rounds_of(run.folder).exists():
        return {}
    results: dict[str, Any] = json.loads(_rounds_of(run.folder).read_text())
    return results


def _rounds_of(folder: Path) -> Path:
    return folder / "rounds.json"


def needs_scores(method: Method) -> bool:
    """Return whether a method learns from scores or lists, and not from pairs."""
    return Pair not in method.needs
