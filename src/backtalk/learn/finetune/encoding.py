"""From texts to trees: the one place where feedback becomes tokens."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate

from backtalk.feedback.interaction import Message
from backtalk.learn.finetune.trees import PairLabel, PromptTree, ResponseTokens
from backtalk.models.local.chat_template import ChatTemplate

Chat = tuple[Message, ...]


@dataclass(frozen=True)
class Text:
    """A response in words, with what the feedback says of it."""

    text: str
    value: float = 0.0
    """As :attr:`~backtalk.learn.finetune.trees.ResponseTokens.value`."""
    weights: tuple[tuple[int, int, float], ...] | None = None
    """Stretches of the text, ``(start, end, weight)``: a token has the weight of the stretch that
    it has characters of, of the last where there are several, and 1 outside of all."""
    credit: tuple[tuple[int, int, float], ...] = ()
    """The same for the tokens' credit, which is 0 outside."""
    token_credit: tuple[float, ...] | None = None
    """The credit of each token in the place of stretches, the token that ends it included."""
    ends: bool = True
    """Whether the response is complete, so that the token that ends it is learned too."""


class Encoder:
    """Turns prompts and responses into trees, as the chat template writes them.

    A response ends with the end-of-sequence token, once. What does not fit into the window is left
    out and counted, never cut off.

    Parameters
    ----------
    chat : ChatTemplate
        The model's chat template.
    longest : int, optional
        The most tokens of a prompt and one response; no limit where it is left out.
    prepare : Callable[[Chat], Chat], default tuple
        What the policy does to a prompt: it puts the system prompt first.
    """

    def __init__(
        self,
        chat: ChatTemplate,
        *,
        longest: int | None = None,
        prepare: Callable[[Chat], Chat] = tuple,
    ) -> None:
        self.chat = chat
        self.longest = longest
        self._prepare = prepare
        self.left_out: Counter[str] = Counter()
        """How many trees were left out, by reason."""
        self._seen: dict[tuple[Chat, str], tuple[list[int], list[int]]] = {}

    def tree(
        self,
        prompt: Chat,
        texts: Sequence[Text],
        *,
        weight: float = 1.0,
        facts: dict[str, float] | None = None,
        pairs: Sequence[PairLabel] = (),
        anchors: Sequence[str] = (),
    ) -> PromptTree | None:
        """Return the tree of a prompt and its responses, or ``None`` where one is too long.

        Raises
        ------
        TemplateError
            If the template does not keep prompt and responses as they are.
        """
        asked = self._prepare(prompt)
        begin: tuple[int, ...] = ()
        branches = []
        for text in [*texts, *map(Text, anchors)]:
            start, tokens = self._tokens(asked, text.text)
            if self.longest is not None and len(start) + len(tokens) > self.longest:
                self.left_out[f"longer than {self.longest} tokens"] += 1
                return None
            begin = tuple(start)
            branches.append(self._branch(text, tokens))
        count = len(texts)
        return PromptTree(
            begin,
            tuple(branches[:count]),
            weight,
            facts or {},
            tuple(pairs),
            tuple(branches[count:]),
        )

    def _tokens(self, asked: Chat, text: str) -> tuple[list[int], list[int]]:
        key = asked, text
        if key not in self._seen:
            self._seen[key] = self.chat.conversation(asked, text)
        return self._seen[key]

    def _branch(self, text: Text, tokens: list[int]) -> ResponseTokens:
        weights = None
        credit = None
        if text.weights is not None or text.credit:
            places = self._places(text.text, tokens)
            if text.weights is not None:
                weights = _spread(places, text.weights, 1.0)
            if text.credit:
                credit = _spread(places, text.credit, 0.0)
        if text.token_credit is not None:
            credit = text.token_credit
        if not text.ends:
            weights = (*(weights or (1.0,) * len(tokens))[:-1], 0.0)
        return ResponseTokens(tuple(tokens), text.value, weights, credit)

    def _places(self, text: str, tokens: Sequence[int]) -> list[tuple[int, int]]:
        """Return the characters of the text, ``(start, end)``, that each token has a part in."""
        pieces = [self.chat.text(tokens[: i + 1]) for i in range(len(tokens))]
        shift = pieces[-1].find(text.strip()) - (len(text) - len(text.lstrip()))
        whole = [len(piece.rstrip("\ufffd")) for piece in pieces]
        starts = [0, *accumulate(whole[:-1], max)]
        # A token may be a part of a character only, which the next ones complete.
        return [
            (start - shift, max(len(piece), start + 1) - shift)
            for start, piece in zip(starts, pieces, strict=True)
        ]


def _spread(
    places: Sequence[tuple[int, int]],
    stretches: Sequence[tuple[int, int, float]],
    default: float,
) -> tuple[float, ...]:
    results = []
    for begin, stop in places:
        within = [value for start, end, value in stretches if start < stop and begin < end]
        results.append(within[-1] if within else default)
    return tuple(results)
