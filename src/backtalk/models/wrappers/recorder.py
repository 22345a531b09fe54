"""Recording what a model answers, to replay it later."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from backtalk.models.errors import ModelError
from backtalk.models.protocol import Completion, Model, Request
from backtalk.models.replay.recordings import Recordings
from backtalk.models.replay.replay import Replay
from backtalk.models.wrappers.base import ModelWrapper


class Recorder(ModelWrapper):
    """Keep every request with its completion.

    Examples
    --------
    >>> from backtalk.feedback import as_prompt
    >>> from backtalk.models import ScriptedModel
    >>> from backtalk.models.run_sync import run_sync
    >>> recorder = Recorder(ScriptedModel(["Yes."]))
    >>> question = Request(messages=as_prompt("Is it open?"))
    >>> run_sync(recorder.generate([question]))[0].text
    'Yes.'
    >>> run_sync(recorder.replay().generate([question]))[0].text
    'Yes.'
    """

    def __init__(self, model: Model) -> None:
        super().__init__(model)
        self.recorded: list[tuple[Request, Completion]] = []
        """What was answered so far, in the order of the answers."""

    async def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """Return what the model inside answers, and keep it."""
        try:
            completions: Sequence[Completion | None] = await self.model.generate(requests)
        except ModelError as failure:
            self._keep(requests, failure.completions)
            raise
        return self._keep(requests, completions)

    def _keep(
        self, requests: Sequence[Request], completions: Sequence[Completion | None]
    ) -> list[Completion]:
        answered = [
            (request, completion)
            for request, completion in zip(requests, completions, strict=False)
            if completion is not None
        ]
        self.recorded += answered
        return [completion for _, completion in answered]

    async def _stream(self, request: Request) -> AsyncIterator[str | Completion]:
        async for piece in self._inner_stream(request):
            if isinstance(piece, Completion):
                self.recorded.append((request, piece))
            yield piece

    def replay(self, *, exact: bool = True) -> Replay:
        """Return a model that answers as recorded.

        Parameters
        ----------
        exact : bool, default True
            Answer only requests that are equal to recorded ones in everything: sampling, seed,
            options. Otherwise the prompt and the index of the sample decide, as in any replay.
        """
        return Replay(Recordings.of_requests(self.recorded, exact=exact))
