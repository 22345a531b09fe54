"""Recording of a model's completions, for replay."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from backtalk.models.errors import ModelError
from backtalk.models.protocol import Completion, Model, Request
from backtalk.models.replay.recordings import Recordings
from backtalk.models.replay.replay import Replay
from backtalk.models.wrappers.base import ModelWrapper


class Recorder(ModelWrapper):
    """Model whose requests and completions are recorded.

    Examples
    --------
    >>> from backtalk.feedback import as_prompt
    >>> from backtalk.models import ScriptedModel
    >>> from backtalk.models.run_sync import run_sync
    >>> recorder = Recorder(ScriptedModel(["Yes."]))
    >>> question = Request(messages=as_prompt("Are you open?"))
    >>> run_sync(recorder.generate([question]))[0].text
    'Yes.'
    >>> run_sync(recorder.replay().generate([question]))[0].text
    'Yes.'
    """

    def __init__(self, model: Model) -> None:
        super().__init__(model)
        self.recordings: list[tuple[Request, Completion]] = []
        """Requests with their completions, in the order of the completions."""

    async def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """Return and record the completions of the wrapped model."""
        try:
            completions: Sequence[Completion | None] = await self.model.generate(requests)
        except ModelError as failure:
            self._record(requests, failure.completions)
            raise
        return self._record(requests, completions)

    def _record(
        self, requests: Sequence[Request], completions: Sequence[Completion | None]
    ) -> list[Completion]:
        pairs = [
            (request, completion)
            for request, completion in zip(requests, completions, strict=False)
            if completion is not None
        ]
        self.recordings += pairs
        return [completion for _, completion in pairs]

    async def _stream(self, request: Request) -> AsyncIterator[str | Completion]:
        async for piece in self._inner_stream(request):
            if isinstance(piece, Completion):
                self.recordings.append((request, piece))
            yield piece

    def replay(self, *, exact: bool = True) -> Replay:
        """Return a model that replays the recorded completions.

        Parameters
        ----------
        exact : bool, default True
            If true, answer only requests that equal recorded ones in all fields: sampling, seed,
            options. Otherwise the prompt and the sample index decide, as in any replay.
        """
        return Replay(Recordings.from_requests(self.recordings, exact=exact))
