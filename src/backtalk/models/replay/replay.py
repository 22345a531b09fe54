"""A model that answers with what was recorded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from backtalk.errors import UnknownName
from backtalk.feedback.interaction import Interaction, prompt_text
from backtalk.feedback.merge import prompt_key
from backtalk.feedback.record import content_id
from backtalk.models.batching import answer_one_by_one
from backtalk.models.errors import NotRecorded
from backtalk.models.protocol import Completion, Request, Usage
from backtalk.models.replay.recordings import Recordings

Order = Literal["recorded", "shuffled"]


class Replay:
    """Answer sample i of a prompt with its i-th recorded output.

    Temperature, stop texts and the like are not looked at: what was written was written.

    Parameters
    ----------
    recordings : Recordings
        The outputs.
    models : sequence of str, default ()
        Only what these models wrote.
    order : Order, default "recorded"
        ``"recorded"``, or ``"shuffled"``: each prompt's outputs are dealt in an order that the
        request's seed decides, so that sample 0 is any of them with the same probability.

    Raises
    ------
    UnknownName
        If one of ``models`` wrote none of it.

    Examples
    --------
    >>> from backtalk.feedback import as_prompt
    >>> from backtalk.models.run_sync import run_sync
    >>> replay = Replay.of([Interaction.of("Is it open?", "Yes.", "We open at nine.")])
    >>> wanted = [Request(messages=as_prompt("Is it open?"), sample=i) for i in range(2)]
    >>> [completion.text for completion in run_sync(replay.generate(wanted))]
    ['Yes.', 'We open at nine.']
    """

    def __init__(
        self, recordings: Recordings, *, models: Sequence[str] = (), order: Order = "recorded"
    ) -> None:
        if order not in ("recorded", "shuffled"):
            raise UnknownName.among("order of a replay", order, ["recorded", "shuffled"])
        for model in models:
            if model not in recordings.models:
                raise UnknownName.among("recorded model", model, recordings.models)
        self.recordings = recordings.only(models) if models else recordings
        self.order = order

    @classmethod
    def of(
        cls,
        interactions: Iterable[Interaction],
        *,
        models: Sequence[str] = (),
        order: Order = "recorded",
    ) -> Replay:
        """Return a replay of the responses in interactions; see :meth:`Recordings.of`."""
        return cls(Recordings.of(interactions), models=models, order=order)

    @classmethod
    def from_files(
        cls, files: Mapping[str, bytes], *, models: Sequence[str] = (), order: Order = "recorded"
    ) -> Replay:
        """Return a replay of recordings in Parquet or JSON; see :meth:`Recordings.from_files`."""
        return cls(Recordings.from_files(files), models=models, order=order)

    def to_files(self) -> dict[str, bytes]:
        """Return the recordings as plain Parquet, for an artifact."""
        return self.recordings.to_files()

    @property
    def name(self) -> str:
        """The one model that was recorded, or how many there are."""
        models = self.recordings.models
        return models[0] if len(models) == 1 else f"replay of {len(models)} models"

    @cached_property
    def identity(self) -> str:
        """What is recorded, and in which order it is handed out."""
        return f"replay {self.recordings.id} {self.order}"

    async def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """Return the recorded outputs.

        Raises
        ------
        NotRecorded
            For a prompt that was not recorded, or more samples than were.
        """
        return await answer_one_by_one(requests, self._answer)

    async def _answer(self, request: Request) -> Completion:
        return self.recordings.completion(self._row(request))

    def bound(self, request: Request) -> Usage:
        """Return what the recorded output took; nothing but the call where there is none."""
        try:
            return self.recordings.completion(self._row(request)).usage
        except NotRecorded:
            return Usage(calls=1)

    def _row(self, request: Request) -> int:
        exact = self._by_request.get(request.key) if self._by_request else None
        if exact is not None:
            return exact
        key = prompt_key(request.messages)
        rows = self._by_prompt.get(key)
        if rows is None:
            raise self._missing(request, 0)
        if request.sample_index >= len(rows):
            raise self._missing(request, len(rows))
        if self.order == "recorded":
            return int(rows[request.sample_index])
        deal = int(content_id("deal", str(request.seed), key), 16)
        return int(
            np.random.Generator(np.random.Philox(key=deal)).permutation(rows)[request.sample_index]
        )

    def _missing(self, request: Request, recorded: int) -> NotRecorded:
        asked = prompt_text(request.messages)
        shown = asked if len(asked) <= 60 else asked[:57] + "..."
        if recorded:
            return NotRecorded(
                f"Sample {request.sample_index} of {shown!r} is not recorded, there are {recorded}",
                f"Ask for at most {recorded} samples of it, or record more",
            )
        if self._by_request:
            return NotRecorded(
                f"This request for {shown!r} is not recorded",
                "Record again, or replay with exact=False if its sampling or seed has changed",
            )
        return NotRecorded(
            f"The prompt {shown!r} is not recorded",
            "Ask only prompts that were recorded, or record a model that answers it",
        )

    @cached_property
    def _by_request(self) -> dict[str, int]:
        keys = self.recordings.table["request"].to_pylist()
        return {key: row for row, key in enumerate(keys) if key is not None}

    @cached_property
    def _by_prompt(self) -> dict[str, NDArray[np.intp]]:
        table = self.recordings.table
        free = np.flatnonzero(table["request"].is_null().to_numpy())
        prompts, codes = np.unique(
            table["prompt"].take(free).to_numpy().astype(str), return_inverse=True
        )
        order = free[np.argsort(codes, kind="stable")]
        ends = np.cumsum(np.bincount(codes, minlength=len(prompts)))
        return dict(zip(prompts.tolist(), np.split(order, ends[:-1]), strict=False))
