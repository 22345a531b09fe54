"""From answers to the features that a linear reward weighs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backtalk.feedback import Message
from backtalk.models.protocol import Embedder
from backtalk.rewards.features import FEATURES, simple_features
from backtalk.rewards.protocol import Answer

Array = NDArray[np.float64]

BLOCKS = ("response embedding", "prompt times response", "simple features")
"""The blocks of features, in order. The second is the elementwise product of the embeddings of
prompt and response: it lets the reward depend on how the response relates to the prompt, which a
linear function of the two could not, as the prompt is the same on both sides of a comparison."""


@dataclass(frozen=True)
class FeatureMap:
    """What the features of an answer are."""

    embedder: Embedder

    @property
    def blocks(self) -> NDArray[np.intp]:
        """The block that each feature belongs to, shape ``(d,)``."""
        sizes = [self.embedder.dimension, self.embedder.dimension, len(FEATURES)]
        return np.repeat(np.arange(len(BLOCKS)), sizes)

    async def features(self, answers: Sequence[Answer]) -> Array:
        """Return the features of each answer, shape ``(len(answers), d)``.

        Each distinct text is embedded once.
        """
        prompts = [last_turn(prompt) for prompt, _ in answers]
        responses = [text for _, text in answers]
        place = {text: i for i, text in enumerate(dict.fromkeys([*prompts, *responses]))}
        vectors = (await self.embedder.embed(list(place))).astype(np.float64)
        asked = vectors[[place[text] for text in prompts]]
        answered = vectors[[place[text] for text in responses]]
        return np.hstack([answered, asked * answered, simple_features(answers)])


def last_turn(prompt: tuple[Message, ...]) -> str:
    """Return the text of the last message: what the response answers."""
    return prompt[-1].text
