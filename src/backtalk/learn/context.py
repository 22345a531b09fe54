"""Context of a learning method: its prompts, samples, stored responses and judges."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from backtalk.errors import BacktalkError
from backtalk.feedback.case import prompt_key
from backtalk.feedback.interaction import Prompt
from backtalk.feedback.requests import stored_prompt_key
from backtalk.learn.lazy_modules import np
from backtalk.learn.left_out_rows import MAX_LEFT_OUT, PROMPT_REASON, LeftOutRows
from backtalk.learn.reward_feedback import RewardFeedback, reward_feedback
from backtalk.learn.training_set import CUT_SAMPLES, TrainingSet
from backtalk.models import Completion, Model, Request, Sampling, load_model
from backtalk.models.cut_answers import warn_of_cut_answers
from backtalk.models.greedy_samples import warn_of_greedy_samples
from backtalk.models.refused_requests import generate_or_refuse
from backtalk.policy import Policy, read_policy
from backtalk.policy.loading import load_memory, prompt_users
from backtalk.policy.selected_prompt import load_selector, select_prompts
from backtalk.rewards.judge_info import JudgeInfo
from backtalk.run import Run

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from backtalk.embedders.registry import EmbedderName
    from backtalk.rewards import Reward

BATCH_SIZE = 512
"""Number of responses requested between two progress reports."""

LEARNED = "learned"
"""Name of the judge that is learned from the pairs of the training set."""


class ModelNeeded(BacktalkError):
    """A call of a model by a method that must do without."""


@dataclass(frozen=True)
class MethodContext:
    """Policy to improve, feedback to learn from and run, with what methods derive from them."""

    policy: Policy
    feedback: TrainingSet
    run: Run
    reference: str | None = None
    """Reference policy of the trainer, by name or id; ``None`` for the policy before learning."""
    may_call_models: bool = True
    """If false, methods that call a model or fit a judge raise ``ModelNeeded``."""
    max_left_out: float = MAX_LEFT_OUT
    """Largest share of the prompts to sample that a model may refuse, in [0, 1]."""
    rewards: list[JudgeInfo] = field(default_factory=list)
    """Rewards and judges that the method used so far, for the lineage of the learned policy."""

    def _check_models(self) -> None:
        if not self.may_call_models:
            raise ModelNeeded("The method calls a model before it trains", "")

    def get_policy(self, name: str | None) -> Policy:
        """Return a policy of the store by name or id; the policy to improve for ``None``."""
        return self.policy if name is None else read_policy(self.feedback.store, name)

    def model(self, policy: Policy | None = None) -> Model:
        """Return a policy's model, within the run's budget and with its cache.

        Raises
        ------
        ModelNeeded
            If models may not be called.
        """
        self._check_models()
        spec = (policy or self.policy).model
        return self.run.wrap(load_model(spec, self.feedback.store.artifacts))

    def prompts(self, limit: int | None = None) -> list[Prompt]:
        """Return the distinct prompts of the training set, with and without feedback.

        With a limit, prompts are drawn at random by the run's seed.

        Raises
        ------
        BacktalkError
            If there is no prompt.
        """
        prompts = self.feedback.prompts()
        if not prompts:
            raise BacktalkError(
                "The store has no prompts to learn from", "Add interactions, or take --split all"
            )
        if limit is None or limit >= len(prompts):
            return prompts
        rng = np.random.default_rng([self.run.seed, 11])
        indices = rng.choice(len(prompts), limit, replace=False)
        return [prompts[i] for i in sorted(indices.tolist())]

    def stored_responses(self, prompts: Sequence[Prompt]) -> list[list[str]]:
        """Return the distinct responses to each prompt that the training set holds.

        Responses of several messages are left out.
        """
        results: dict[str, dict[str, None]] = {prompt_key(prompt): {} for prompt in prompts}
        for case in self.feedback.every_case():
            key = prompt_key(case.interaction.prompt)
            if key in results:
                texts = (
                    self.feedback.answer_text(
                        case.interaction.prompt, response.text, response.messages
                    )
                    for response in case.interaction.responses
                )
                results[key].update(dict.fromkeys(text for text in texts if text is not None))
        return [list(results[prompt_key(prompt)]) for prompt in prompts]

    async def messages(self, prompts: Sequence[Prompt], policies: Sequence[Policy]) -> list[Prompt]:
        """Return the messages that the model of each prompt's policy reads, as when it is served.

        Entries of a policy's memory are recalled for the user who asked the prompt.

        Parameters
        ----------
        prompts : sequence of Prompt
            N prompts, without the policies' own messages.
        policies : sequence of Policy
            Policy of each prompt.
        """
        store = self.feedback.store
        users = prompt_users(store, prompts) if any(policy.memory for policy in policies) else {}
        memories = {policy.memory: load_memory(policy, store) for policy in policies}
        selectors = {policy.id: load_selector(policy, store.artifacts) for policy in policies}
        results = []
        for prompt, policy in zip(prompts, policies, strict=True):
            memory = memories[policy.memory]
            texts: tuple[str, ...] | None = None
            if memory is not None:
                user = users.get(stored_prompt_key(prompt))
                texts = (await memory.recall(prompt, user=user)).texts
            (own,) = await select_prompts(policy, selectors[policy.id], [prompt])
            results.append(own.policy.messages(prompt, remembered=texts))
        return results

    async def sample(
        self,
        prompts: Sequence[Prompt],
        count: int,
        *,
        policy: Policy | None = None,
        policies: Sequence[Policy] | None = None,
        sampling: Sampling | None = None,
        seed: int = 0,
    ) -> list[list[str]]:
        """Return up to ``count`` complete responses to each prompt.

        Responses that reach the token limit are left out: a model trained on one would learn to
        stop there. A prompt that the model refuses has no response; it is counted and listed.

        Parameters
        ----------
        prompts : sequence of Prompt
            Prompts, without the policy's system prompt.
        count : int
            Number of responses drawn for each prompt.
        policy : Policy, optional
            Policy that responds; the policy to improve by default.
        policies : sequence of Policy, optional
            One policy for each prompt, all with the same model; takes precedence over ``policy``.
        sampling : Sampling, optional
            Sampling parameters; those of the policy's decoder by default.
        seed : int, default 0
            Seed within the run; each seed gives other responses.

        Raises
        ------
        TooManyLeftOut
            If the model refuses a larger share of the prompts than ``max_left_out``.
        """
        if not prompts:
            return []
        responders = policies or [policy or self.policy] * len(prompts)
        model = self.model(responders[0])
        messages = await self.messages(prompts, responders)
        first = responders[0]
        warn_of_greedy_samples(first.label, sampling or first.decoder.base_sampling, count)
        requests = [
            Request(
                messages=message_list,
                sampling=sampling or responder.decoder.base_sampling,
                sample_index=i,
                seed=self.run.seed * 1_000 + seed,
            )
            for responder, message_list in zip(responders, messages, strict=True)
            for i in range(count)
        ]
        results: list[list[str]] = [[] for _ in prompts]
        reasons: dict[int, str] = {}
        with self.run.task("sampling answers", len(requests)) as step:
            for start in range(0, len(requests), BATCH_SIZE):
                answers = await generate_or_refuse(model, requests[start : start + BATCH_SIZE])
                completions = [one for one in answers if isinstance(one, Completion)]
                for index, completion in enumerate(answers, start):
                    if not isinstance(completion, Completion):
                        reasons.setdefault(index // count, str(completion))
                    elif completion.finish_reason != "length":
                        text = self.feedback.answer_text(
                            prompts[index // count], completion.text, completion.messages
                        )
                        results[index // count].append(text or completion.text)
                cut = warn_of_cut_answers(first.label, completions)
                self.feedback.left_out += Counter({CUT_SAMPLES: cut})
                step(min(start + BATCH_SIZE, len(requests)))
        self._leave_out([(prompts[i], reason) for i, reason in reasons.items()], len(prompts))
        return results

    def _leave_out(self, refused: Sequence[tuple[Prompt, str]], total: int) -> None:
        """Count and list prompts that a model refuses; raise an error if there are too many."""
        rows = LeftOutRows()
        rows.count, rows.total = len(refused), total
        for prompt, reason in refused:
            rows.add(prompt, "", reason)
        rows.check(self.max_left_out, self.feedback.every_case())
        self.feedback.refused.add_all(rows)
        self.feedback.left_out += Counter({PROMPT_REASON: len(refused)})

    async def learn_reward(self, data: RewardFeedback, embedder: EmbedderName) -> Reward:
        """Return a reward fitted to pairs and to judgements of single responses.

        Raises
        ------
        BacktalkError
            If no pair has a winner, and the single responses are not both good and bad.
        """
        self._check_models()
        from backtalk.learn.reward_feedback import fit_reward  # noqa: PLC0415 - slow to import

        with self.run.task("learning a reward"):
            learned = await fit_reward(data, self.feedback, embedder, seed=self.run.seed)
        self.rewards.append(learned.reward.info)
        return learned.reward

    async def judge(self, name: str, embedder: EmbedderName = "hashed") -> Reward:
        """Return a judge by name; ``"learned"`` fits a reward to the training set.

        Raises
        ------
        BacktalkError
            If a reward is to be learned and nothing tells better from worse, the name is unknown,
            or the judge cannot judge new answers. Nothing has been generated then.
        """
        from backtalk.evaluate.judges import (  # noqa: PLC0415 - slow to import
            describe_judge,
            get_scorer,
            in_run,
        )
        from backtalk.evaluate.judges.new_answers import (  # noqa: PLC0415 - slow to import
            check_new_answers,
        )

        if name != LEARNED:
            judge = in_run(get_scorer(name, self.feedback.store), self.run)
            if self.policy.model.kind != "replay":
                await check_new_answers(judge, self.policy.label)
            self.rewards.append(describe_judge(judge))
            return judge
        return await self.learn_reward(reward_feedback(self.feedback), embedder)


async def score_responses(
    reward: Reward, prompts: Sequence[Prompt], responses: Sequence[Sequence[str]]
) -> list[NDArray[np.float64]]:
    """Return the scores of the responses to each prompt.

    Parameters
    ----------
    reward : Reward
        Scorer.
    prompts : sequence of Prompt
        N prompts.
    responses : sequence of sequence of str
        Responses to each prompt.

    Returns
    -------
    list of numpy.ndarray
        N arrays, each of shape ``(number of responses,)``.
    """
    if not prompts:
        return []
    flat = [
        (prompt, text) for prompt, texts in zip(prompts, responses, strict=True) for text in texts
    ]
    values = (await reward.score(flat)).mean if flat else np.empty(0)
    ends = np.cumsum([len(texts) for texts in responses])
    return np.split(np.asarray(values, dtype=float), ends[:-1])
