"""Writer of prompts with the small model of a world, by the skills that it was trained on."""

from __future__ import annotations

from collections.abc import Sequence

from backtalk.errors import RecordError
from backtalk.feedback.interaction import Prompt, prompt_text
from backtalk.learn.lazy_modules import np
from backtalk.learn.prompt.edits import lines, with_lines, with_rules
from backtalk.learn.prompt.protocol import PromptCandidate, TextFeedback
from backtalk.learn.prompt.writer import Examples, History
from backtalk.models import Model, Request, Sampling
from backtalk.models.fitting_requests import generate_fitting
from backtalk.prompts import critique_prompt, refinement_prompt, reports_no_issues
from backtalk.worlds import get_world
from backtalk.worlds.skills import rule_induction_prompt
from backtalk.worlds.train.curriculum import GUIDANCE

STOCK_LINES = tuple(GUIDANCE.values())
"""General advice that the small models read, as "check your facts" is for a large one."""
_MAX_NEW_LINES = 2
_DEPARTURE = 0.2
"""Probability with which a line is left out or added against the direction."""


class WorldWriter:
    """Small model of a world that finds rules, criticises and refines, to write prompts.

    A prompt is a set of lines: rules that the model finds in examples, and general advice.
    Critiques of a prompt are those of its answers. A revision adds a rule that the model finds in
    answers that it refined by these critiques.

    Parameters
    ----------
    model : Model
        Small model.
    world : str
        Name of the world.
    """

    group_size = 3
    opening = ""

    def __init__(self, model: Model, world: str) -> None:
        self._model = model
        self._world = get_world(world)

    def inference_chat(self, examples: Examples) -> Prompt:
        """Return the messages that ask the model for the rule behind examples."""
        return rule_induction_prompt([self._example(*example) for example in examples])

    async def infer(
        self, candidate: PromptCandidate, groups: Sequence[Examples], *, seed: int = 0
    ) -> list[PromptCandidate]:
        """Return a candidate for each group, with the rule that the model finds in it.

        Parameters
        ----------
        candidate : PromptCandidate
            Prompt to change.
        groups : sequence of Examples
            Requests with good answers, one group for each result.
        seed : int, default 0
            Seed within the run.
        """
        chats = [self.inference_chat(group) for group in groups]
        return [
            with_rules(candidate, (*candidate.template.rules, rule), note=f"add: {rule}")
            for rule in await self._ask(chats, seed=seed)
            if rule
        ]

    async def criticise(
        self,
        candidate: PromptCandidate,  # noqa: ARG002 - as every writer
        batches: Sequence[Sequence[TextFeedback]],
        *,
        seed: int = 0,
    ) -> list[str]:
        """Return the critiques of each batch's answers, the model's own where there is none.

        Parameters
        ----------
        candidate : PromptCandidate
            Prompt to change.
        batches : sequence of sequence of TextFeedback
            Answers with what was said about them, one batch for each critique.
        seed : int, default 0
            Seed within the run.
        """
        flat = [item for batch in batches for item in batch]
        texts = iter(await self._critiques(flat, seed=seed))
        return [
            " ".join(dict.fromkeys(text for text in (next(texts) for _ in batch) if text))
            for batch in batches
        ]

    async def revise(
        self,
        candidate: PromptCandidate,
        critiques: Sequence[str],  # noqa: ARG002 - they are in the batch
        batch: Sequence[TextFeedback],
        *,
        count: int = 1,
        seed: int = 0,
    ) -> list[PromptCandidate]:
        """Return candidates with a rule that the model finds in its refined answers.

        Parameters
        ----------
        candidate : PromptCandidate
            Prompt to change.
        critiques : sequence of str
            Critiques of the prompt, the latest last.
        batch : sequence of TextFeedback
            Answers that the critiques are about.
        count : int, default 1
            Maximum number of results.
        seed : int, default 0
            Seed within the run.
        """
        examples = await self._refined(batch, seed=seed)
        if len(examples) < self.group_size:
            return []
        rng = np.random.default_rng([seed, 31])
        groups = [
            [examples[i] for i in rng.choice(len(examples), self.group_size, replace=False)]
            for _ in range(count)
        ]
        return await self.infer(candidate, groups, seed=seed)

    async def vary(
        self, candidate: PromptCandidate, *, count: int = 1, seed: int = 0
    ) -> list[PromptCandidate]:
        """Return candidates with one line of general advice more, or one line less.

        Parameters
        ----------
        candidate : PromptCandidate
            Prompt to change.
        count : int, default 1
            Maximum number of results.
        seed : int, default 0
            Seed within the run.
        """
        rng = np.random.default_rng([seed, 32])
        now = lines(candidate)
        changes = [(*now, line) for line in STOCK_LINES if line not in now]
        changes += [tuple(line for line in now if line != old) for old in now]
        order = rng.permutation(len(changes))[:count]
        return [with_lines(candidate, changes[i]) for i in order]

    async def find_direction(self, history: History, *, seed: int = 0) -> str:  # noqa: ARG002
        """Return the lines that raise the score, one a line, the strongest first."""
        effects = line_effects(history)
        return "\n".join(
            line for line, effect in sorted(effects.items(), key=lambda e: -e[1]) if effect > 0
        )

    async def continue_history(
        self, history: History, direction: str = "", *, count: int = 1, seed: int = 0
    ) -> list[PromptCandidate]:
        """Return prompts of the lines in the direction, and of lines without a measured effect.

        A prompt that was tried before departs from the direction in some lines, as effects of a
        short history are uncertain. Without a direction, lines of the history are combined at
        random.

        Parameters
        ----------
        history : History
            Candidates with their scores, the best last.
        direction : str, default ""
            Direction of change, in words; empty for none.
        count : int, default 1
            Maximum number of results.
        seed : int, default 0
            Seed within the run.
        """
        rng = np.random.default_rng([seed, 33])
        best = history[-1][0]
        seen = list(dict.fromkeys(line for item, _ in history for line in lines(item)))
        fixed = [line for line in direction.split("\n") if line]
        tried = [set(lines(item)) for item, _ in history]
        effects = line_effects(history) if direction else {}
        open_lines = [
            line
            for line in dict.fromkeys((*seen, *STOCK_LINES))
            if line not in fixed and line not in effects
        ]
        results = []
        for _ in range(count):
            most = _MAX_NEW_LINES if direction else max(1, len(open_lines) // 2)
            size = min(int(rng.integers(0, most + 1)), len(open_lines))
            extra = [open_lines[i] for i in rng.permutation(len(open_lines))[:size]]
            chosen = [*fixed, *extra]
            if direction and set(chosen) in tried:
                chosen = _depart(chosen, list(effects), rng)
            results.append(with_lines(best, chosen))
        return results

    async def _refined(self, batch: Sequence[TextFeedback], *, seed: int) -> Examples:
        critiques = await self._critiques(batch, seed=seed)
        known = [(item.prompt, item.better) for item in batch if item.better is not None]
        open_items = [
            (item, critique)
            for item, critique in zip(batch, critiques, strict=True)
            if item.better is None and critique
        ]
        texts = await self._ask(
            [refinement_prompt(item.prompt, item.answer, text) for item, text in open_items],
            seed=seed,
        )
        refined = [(item.prompt, text) for (item, _), text in zip(open_items, texts, strict=True)]
        return [*known, *refined]

    async def _critiques(self, batch: Sequence[TextFeedback], *, seed: int) -> list[str]:
        """Return the critique of each answer; empty if nothing is wrong."""
        silent = [item for item in batch if not item.text and item.better is None]
        own = iter(
            await self._ask(
                [critique_prompt(item.prompt, item.answer) for item in silent], seed=seed
            )
        )
        texts = [item.text or ("" if item.better is not None else next(own, "")) for item in batch]
        return ["" if reports_no_issues(text) else text for text in texts]

    async def _ask(self, chats: Sequence[Prompt], *, seed: int) -> list[str]:
        if not chats:
            return []
        sampling = Sampling(temperature=0.0, max_tokens=2 * self._world.max_tokens)
        requests = [Request(messages=chat, sampling=sampling, seed=seed) for chat in chats]
        completions = await generate_fitting(self._model, requests)
        return ["" if one is None else one.text.strip() for one in completions]

    def _example(self, prompt: Prompt, answer: str) -> str:
        try:
            task = self._world.parse_prompt(prompt)
        except RecordError:
            return f"{prompt_text(prompt)}\n{answer}"
        return self._world.example(task, answer)


def _depart(chosen: Sequence[str], others: Sequence[str], rng: np.random.Generator) -> list[str]:
    """Return lines of which each is left out, and of the others each added, with a probability."""
    return [
        line
        for line in dict.fromkeys((*chosen, *others))
        if (line in chosen) == (rng.random() >= _DEPARTURE)
    ]


def line_effects(history: History) -> dict[str, float]:
    """Return the mean score of prompts with a line, less that of prompts without it.

    Lines that all prompts of the history have, or that only one has, have no effect.
    """
    results = {}
    for line in dict.fromkeys(line for item, _ in history for line in lines(item)):
        present = [score for item, score in history if line in lines(item)]
        absent = [score for item, score in history if line not in lines(item)]
        if present and absent:
            results[line] = float(np.mean(present) - np.mean(absent))
    return results
