"""Token search: candidates of the model itself, chosen by gradients over its reasoning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from backtalk.feedback.interaction import Prompt
from backtalk.learn.lazy_modules import np
from backtalk.learn.prompt.edits import lines
from backtalk.learn.prompt.token_search.line import PromptLine
from backtalk.learn.prompt.token_search.settings import TokenSearchSettings
from backtalk.learn.prompt.token_search.targets import Targets
from backtalk.models import Sampling
from backtalk.models.local.engine import Engine
from backtalk.models.local.sampler import SequenceState
from backtalk.models.local.token_gradients import AnswerTokens

_BATCH_TOKENS = 16_384


@dataclass
class TokenSearch:
    """Search for the text of one line, position by position.

    At each position, the model's most likely tokens in several contexts are intersected. The
    derivative of the loss of good answers, after reasoning that the model generates, orders them;
    the steepest are evaluated, and the best text stays. Positions rotate; the one behind the last
    token extends the line.

    Das et al. (2025), "GReaTer: gradients over reasoning makes smaller language models strong
    prompt optimizers", section 3.

    Parameters
    ----------
    engine : Engine
        Weights of the model.
    targets : Targets
        Good answers.
    contexts : sequence of Prompt
        Conversations in which the model is to write the line, each about other inputs.
    settings : TokenSearchSettings
        Settings.
    opening : str, default ""
        Text with which the model's reply in a context begins, before the line.
    """

    engine: Engine
    targets: Targets
    contexts: Sequence[Prompt]
    settings: TokenSearchSettings = field(default_factory=TokenSearchSettings)
    opening: str = ""
    objectives: dict[str, float] = field(default_factory=dict, init=False)
    """Objective of each text that was evaluated, lower is better."""

    def __post_init__(self) -> None:
        opening = self._encode(self.opening)
        chat = self.targets.chat
        self._contexts = [[*chat.prompt_tokens(context), *opening] for context in self.contexts]

    async def run(self, line: PromptLine, steps: int) -> list[tuple[str, float]]:
        """Return the texts that were evaluated with their objectives, the best first.

        Parameters
        ----------
        line : PromptLine
            Line to search for.
        steps : int
            Number of positions that are visited.
        """
        self.objectives = {}
        text = line.text or await self._start(line)
        if not text:
            return []
        position = 0
        for _ in range(steps):
            length = len(self._tokens(line, text))
            position %= min(length + 1, self.settings.max_length)
            text = await self.step(line, text, position)
            position += 1
        return sorted(self.objectives.items(), key=lambda item: item[1])

    async def step(self, line: PromptLine, text: str, position: int) -> str:
        """Return a better text that differs from this one from a position on, or this one.

        Parameters
        ----------
        line : PromptLine
            Line to search for.
        text : str
            Present text.
        position : int
            Index of the token; the number of tokens for a further one.
        """
        tokens = self._tokens(line, text)
        proposed = self.propose(tokens[:position])
        candidates = [token for token in proposed if tokens[position : position + 1] != [token]]
        if not candidates:
            return text
        prefixes = await self.targets.prefixes(line, text)
        self._evaluate(line, [text], prefixes)
        if position == len(tokens):
            tokens = [*tokens, candidates[0]]
        rows = self._rows(line, text, tokens, position, prefixes)
        gradients = self.engine.token_gradients(rows, candidates)
        steepest = [candidates[i] for i in np.argsort(gradients, kind="stable")]
        texts = [
            new
            for token in steepest[: self.settings.evaluated]
            for new in self._variants(tokens, position, token, proposed[token])
        ]
        new = [one for one in dict.fromkeys(texts) if self._is_new(line, one)]
        self._evaluate(line, new, prefixes)
        return await self._better(line, text, new)

    async def _better(self, line: PromptLine, text: str, others: Sequence[str]) -> str:
        """Return the best of the other texts if it is better with reasoning of its own."""
        best = min(others, key=lambda one: self.objectives[one], default=text)
        if self.objectives[best] >= self.objectives[text]:
            return text
        prefixes = await self.targets.prefixes(line, best)
        (self.objectives[best],) = self.compute_objectives(line, [best], prefixes)
        return best if self.objectives[best] < self.objectives[text] else text

    def propose(self, prefix: Sequence[int]) -> dict[int, int]:
        """Return tokens that may follow, each with the context in which it is the most likely.

        They are among the most likely tokens in all contexts; without such tokens, among those in
        any. Tokens without text, and those with a line break, are left out.

        Parameters
        ----------
        prefix : sequence of int
            Tokens of the line so far.
        """
        logits = self.engine.next_token_log_probabilities(
            [[*context, *prefix] for context in self._contexts]
        )
        top = np.argsort(-logits, axis=1, kind="stable")[:, : self.settings.top_k]
        sets = [set(row.tolist()) for row in top]
        tokens = set.intersection(*sets) or set.union(*sets)
        means = logits.mean(axis=0)
        ordered = sorted(tokens, key=lambda token: -means[token])
        return {token: int(logits[:, token].argmax()) for token in ordered if self._is_text(token)}

    def compute_objectives(
        self, line: PromptLine, texts: Sequence[str], prefixes: Sequence[str]
    ) -> list[float]:
        """Return the loss of the answers with the weighted perplexity of the line, for each text.

        Parameters
        ----------
        line : PromptLine
            Line.
        texts : sequence of str
            Texts of the line.
        prefixes : sequence of str
            Reasoning before each answer.
        """
        targets = self.targets
        answers = targets.answers()
        pairs = [
            targets.encode(line.messages(text, prompt), prefix, answer)
            for text in texts
            for (prompt, _), prefix, answer in zip(targets.examples, prefixes, answers, strict=True)
        ]
        own = [self._encode(text) for text in texts]
        pairs += [(context, tokens) for tokens in own for context in self._contexts]
        values = self.engine.log_probabilities(pairs, batch_tokens=_BATCH_TOKENS)
        means = np.array([value.mean() for value in values])
        split = len(texts) * len(answers)
        losses = -means[:split].reshape(len(texts), -1).mean(axis=1)
        perplexities = np.exp(-means[split:]).reshape(len(texts), -1).mean(axis=1)
        objectives = losses + self.settings.perplexity_weight * perplexities
        return [float(value) for value in objectives]

    def _evaluate(self, line: PromptLine, texts: Sequence[str], prefixes: Sequence[str]) -> None:
        missing = [text for text in texts if text not in self.objectives]
        if missing:
            values = self.compute_objectives(line, missing, prefixes)
            self.objectives.update(zip(missing, values, strict=True))

    async def _start(self, line: PromptLine) -> str:
        """Return the best of the lines that the model writes in the contexts; empty for none."""
        texts = [self._continue(context, []) for context in range(len(self._contexts))]
        new = [text for text in dict.fromkeys(texts) if self._is_new(line, text)]
        if not new:
            return ""
        prefixes = await self.targets.prefixes(line, new[0])
        self._evaluate(line, new, prefixes)
        return min(new, key=lambda text: self.objectives[text])

    def _is_new(self, line: PromptLine, text: str) -> bool:
        return bool(text) and text not in self.objectives and text not in lines(line.base)

    def _tokens(self, line: PromptLine, text: str) -> list[int]:
        """Return the tokens of the line in a conversation."""
        tokens, place = line.find(self.targets.chat, text, self.targets.examples[0][0])
        return tokens[place]

    def _rows(
        self,
        line: PromptLine,
        text: str,
        tokens: Sequence[int],
        position: int,
        prefixes: Sequence[str],
    ) -> list[AnswerTokens]:
        """Return the conversations of all targets, with these tokens as the line."""
        rows = []
        for (prompt, _), prefix, answer in zip(
            self.targets.examples, prefixes, self.targets.answers(), strict=True
        ):
            messages = line.messages(text, prompt)
            context, answer_tokens = self.targets.encode(messages, prefix, answer)
            _, place = line.find(self.targets.chat, text, prompt)
            changed = (*context[: place.start], *tokens, *context[place.stop :])
            rows.append(AnswerTokens(changed, tuple(answer_tokens), place.start + position))
        return rows

    def _variants(
        self, tokens: Sequence[int], position: int, token: int, context: int
    ) -> list[str]:
        """Return new texts with a token at a position: with the rest as it was, and continued."""
        start = [*tokens[:position], token]
        texts = [self._decode([*start, *tokens[position + 1 :]])]
        if self.settings.continuations:
            texts.append(self._continue(context, start))
        return texts

    def _continue(self, context: int, start: Sequence[int]) -> str:
        """Return the line that the model writes in a context from these tokens on."""
        room = max(self.settings.max_length - len(start), 1)
        state = SequenceState(
            (*self._contexts[context], *start), Sampling(temperature=0.0), room, seed=0
        )
        self.engine.sample(
            [state],
            batch_tokens=_BATCH_TOKENS,
            contains_stop=lambda one: "\n" in self._decode(one.tokens[-1:], strip=False),
            cancelled=lambda: False,
        )
        return self._decode([*start, *state.tokens]).split("\n")[0].strip()

    def _decode(self, tokens: Sequence[int], *, strip: bool = True) -> str:
        text = self.targets.chat.decode(tokens)
        return text.strip() if strip else text

    def _is_text(self, token: int) -> bool:
        text = self._decode([token], strip=False)
        return bool(text) and "\n" not in text

    def _encode(self, text: str) -> list[int]:
        return list(self.engine.tokenizer(text, add_special_tokens=False)["input_ids"])
