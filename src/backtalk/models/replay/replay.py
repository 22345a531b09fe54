"""Model that replays recorded responses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from backtalk.errors import UnknownName
from backtalk.feedback.interaction import Interaction, prompt_text
from backtalk.feedback.record import content_id
from backtalk.feedback.requests import stored_prompt_key
from backtalk.models.batching import generate_sequentially
from backtalk.models.errors import NotRecorded
from backtalk.models.options import ReplayOrder
from backtalk.models.protocol import Completion, Request, Usage
from backtalk.models.replay.recordings import Recordings


class Replay:
    """Model that answers sample index i of a prompt with its i-th recorded response.

    Sampling parameters such as the temperature are ignored.

    Parameters
    ----------
    recordings : Recordings
        Recorded responses.
    models : sequence of str, default ()
        Models whose responses are replayed; all by default.
    order : ReplayOrder, default "recorded"
        ``"recorded"``, or ``"shuffled"``: the responses to each prompt are permuted by the
        request's seed, so that sample index 0 is any of them with equal probability.

    Raises
    ------
    UnknownName
        If there are no responses of one of ``models``.

    Examples
    --------
    >>> from backtalk.feedback import as_prompt
    >>> from backtalk.models.run_sync import run_sync
    >>> interaction = Interaction.of("Are you open?", "Yes.", "We open at nine.")
    >>> replay = Replay.from_interactions([interaction])
    >>> prompt = as_prompt("Are you open?")
    >>> requests = [Request(messages=prompt, sample_index=i) for i in range(2)]
    >>> [completion.text for completion in run_sync(replay.generate(requests))]
    ['Yes.', 'We open at nine.']
    """

    def __init__(
        self, recordings: Recordings, *, models: Sequence[str] = (), order: ReplayOrder = "recorded"
    ) -> None:
        if order not in ("recorded", "shuffled"):
            raise UnknownName.among("order of a replay", order, ["recorded", "shuffled"])
        for model in models:
            if model not in recordings.models:
                raise UnknownName.among("recorded model", model, recordings.models)
        self.recordings = recordings.filter_models(models) if models else recordings
        self.order = order

    @classmethod
    def from_interactions(
        cls,
        interactions: Iterable[Interaction],
        *,
        models: Sequence[str] = (),
        order: ReplayOrder = "recorded",
    ) -> Replay:
        """Return a replay of the responses in interactions.

        See :meth:`Recordings.from_interactions`.

        Parameters
        ----------
        interactions : iterable of Interaction
            Interactions with responses.
        models : sequence of str, default ()
            Models whose responses are replayed; all by default.
        order : ReplayOrder, default "recorded"
            Order of the responses to a prompt.
        """
        return cls(Recordings.from_interactions(interactions), models=models, order=order)

    @classmethod
    def from_files(
        cls,
        files: Mapping[str, bytes],
        *,
        models: Sequence[str] = (),
        order: ReplayOrder = "recorded",
    ) -> Replay:
        """Return a replay of recordings in files; see :meth:`Recordings.from_files`.

        Parameters
        ----------
        files : Mapping[str, bytes]
            Contents of files by name.
        models : sequence of str, default ()
            Models whose responses are replayed; all by default.
        order : ReplayOrder, default "recorded"
            Order of the responses to a prompt.
        """
        return cls(Recordings.from_files(files), models=models, order=order)

    def to_files(self) -> dict[str, bytes]:
        """Return the recordings as a Parquet file, for an artifact."""
        return self.recordings.to_files()

    @property
    def name(self) -> str:
        """Name of the recorded model, or the number of models if there are several."""
        models = self.recordings.models
        return models[0] if len(models) == 1 else f"replay of {len(models)} models"

    @cached_property
    def identity(self) -> str:
        """Content id of the recordings, and their order."""
        return f"replay {self.recordings.id} {self.order}"

    async def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """Return the recorded responses.

        Raises
        ------
        NotRecorded
            If a prompt was not recorded, or has fewer responses than the sample index.
        """
        return await generate_sequentially(requests, self._answer)

    async def _answer(self, request: Request) -> Completion:
        return self.recordings.completion(self._row(request))

    def bound(self, request: Request) -> Usage:
        """Return the usage of the recorded response, or a single call if there is none."""
        try:
            return self.recordings.completion(self._row(request)).usage
        except NotRecorded:
            return Usage(calls=1)

    def _row(self, request: Request) -> int:
        exact = self._by_request.get(request.key) if self._by_request else None
        if exact is not None:
            return exact
        key = stored_prompt_key(request.messages)
        rows = self._by_prompt.get(key)
        if rows is None:
            raise self._missing(request, 0)
        if request.sample_index >= len(rows):
            raise self._missing(request, len(rows))
        if self.order == "recorded":
            return int(rows[request.sample_index])
        seed = int(content_id("deal", str(request.seed), key), 16)
        rng = np.random.Generator(np.random.Philox(key=seed))
        return int(rng.permutation(rows)[request.sample_index])

    def _missing(self, request: Request, recorded: int) -> NotRecorded:
        prompt = prompt_text(request.messages)
        shown = prompt if len(prompt) <= 60 else prompt[:57] + "..."
        if recorded:
            return NotRecorded(
                f"Sample {request.sample_index} of {shown!r} is not recorded, there are {recorded}",
                f"Request at most {recorded} samples of it, or record more",
            )
        if self._by_request:
            return NotRecorded(
                f"This request for {shown!r} is not recorded",
                "Record again, or replay with exact=False if its sampling or seed has changed",
            )
        return NotRecorded(
            f"The prompt {shown!r} is not recorded",
            "Use only prompts that were recorded, or record a model that answers it",
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
