"""Rewriting: a request is rewritten before it is answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from backtalk.artifacts import Artifacts
from backtalk.decode.base import DecoderBase, DecoderOutput, register_decoder
from backtalk.feedback.interaction import Message, Prompt
from backtalk.feedback.record import OMIT_EMPTY, Name, OptionalField, Record
from backtalk.models.protocol import Completion, Model, Request, Sampling, Usage
from backtalk.models.spec import ModelSpec
from backtalk.models.wrappers.base import ModelWrapper

if TYPE_CHECKING:
    from backtalk.rewards import Reward

_ROLE = "backtalk_role"
"""Option of a request that goes to the rewriter; :class:`RewriterModel` removes it."""
_REWRITER = "rewriter"


class RewrittenRequest(Record):
    """Demonstration of rewriting: a request as users write it, and a complete one."""

    request: Name
    rewritten: Name


@register_decoder("rewrite")
class Rewrite(DecoderBase):
    """Rewrite the last request of the user, and answer it with a single sample.

    Chang et al. (2024), "On the open prompt challenge in conditional audio generation": users write
    less than a model needs, and a rewriter that is chosen by a reward of the answers completes it.
    A request is answered as it is if the rewriter writes nothing, or does not come to an end. What
    the model read is in the answer's record.
    """

    kind: Literal["rewrite"] = "rewrite"
    instruction: Name
    """Instruction of the rewriter."""
    demonstrations: tuple[RewrittenRequest, ...] = Field(default=(), exclude_if=OMIT_EMPTY)
    """Requests with rewritten ones that the rewriter reads as examples."""
    rewriter: OptionalField[ModelSpec] = None
    """Model that rewrites. Default: the model of the policy."""
    rewriting: Sampling = Sampling(temperature=0.0, max_tokens=300)
    """Sampling parameters of the rewriter."""
    sampling: Sampling = Sampling()
    """Sampling parameters of the answer."""

    def prepare(self, model: Model, artifacts: Artifacts | None = None) -> Model:
        """Return the model with the rewriter beside it."""
        rewriter = model if self.rewriter is None else self.rewriter.load(artifacts)
        return RewriterModel(model, rewriter)

    async def decode(
        self,
        model: Model,
        prompts: Sequence[Prompt],
        *,
        rewards: Mapping[str, Reward],  # noqa: ARG002 - no reward is used
        seed: int = 0,
    ) -> list[DecoderOutput]:
        """Rewrite each request and answer it with a single sample.

        Parameters
        ----------
        model : Model
            Model of :meth:`prepare`.
        prompts : sequence of Prompt
            Chat messages, including the system prompt.
        rewards : Mapping[str, Reward]
            Not used.
        seed : int, default 0
            Random seed.
        """
        replies = await self._replies(model, prompts, seed=seed)
        texts = [_accepted(prompt, reply) for prompt, reply in zip(prompts, replies, strict=True)]
        rewritten = [
            prompt if text is None else replace_request(prompt, text)
            for prompt, text in zip(prompts, texts, strict=True)
        ]
        answers = await model.generate(
            [Request(messages=prompt, sampling=self.sampling, seed=seed) for prompt in rewritten]
        )
        return [
            DecoderOutput(
                (answer,),
                0,
                rewritten_request=text,
                other_usage=Usage() if reply is None else reply.usage,
            )
            for answer, text, reply in zip(answers, texts, replies, strict=True)
        ]

    async def rewrite(
        self, model: Model, prompts: Sequence[Prompt], *, seed: int = 0
    ) -> list[str | None]:
        """Return each rewritten request; ``None`` where a request stays as it is.

        Parameters
        ----------
        model : Model
            Model of :meth:`prepare`.
        prompts : sequence of Prompt
            Chat messages.
        seed : int, default 0
            Random seed.
        """
        replies = await self._replies(model, prompts, seed=seed)
        return [_accepted(prompt, reply) for prompt, reply in zip(prompts, replies, strict=True)]

    async def _replies(
        self, model: Model, prompts: Sequence[Prompt], *, seed: int
    ) -> list[Completion | None]:
        """Return the rewriter's reply to each request that can be rewritten."""
        positions = [_request_position(prompt) for prompt in prompts]
        requests = [
            Request(
                messages=self._messages(prompt, position),
                sampling=self.rewriting,
                seed=seed,
                options={_ROLE: _REWRITER},
            )
            for prompt, position in zip(prompts, positions, strict=True)
            if position is not None
        ]
        replies = iter(await model.generate(requests) if requests else ())
        return [None if position is None else next(replies) for position in positions]

    def _messages(self, prompt: Prompt, position: int) -> Prompt:
        earlier = [
            message for message in prompt[:position] if message.role in {"user", "assistant"}
        ]
        request = prompt[position].text
        if earlier:
            turns = "\n".join(f"{message.role}: {message.text}" for message in earlier)
            request = f"Conversation so far:\n{turns}\n\nRequest:\n{request}"
        shown = [
            message
            for one in self.demonstrations
            for message in (Message.user(one.request), Message.assistant(one.rewritten))
        ]
        return (Message.system(self.instruction), *shown, Message.user(request))


class RewriterModel(ModelWrapper):
    """Model whose requests to rewrite go to a rewriter, without the options of the user's request.

    Parameters
    ----------
    model : Model
        Model that answers.
    rewriter : Model
        Model that rewrites; may be the same.
    """

    def __init__(self, model: Model, rewriter: Model) -> None:
        super().__init__(model)
        self._rewriter = rewriter

    @property
    def identity(self) -> str:
        """Identity of both models, which the answers depend on."""
        if self._rewriter is self.model:
            return self.model.identity
        return f"{self.model.identity} rewriter {self._rewriter.identity}"

    async def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """Return one completion for each request."""
        rewrites = [request.options.get(_ROLE) == _REWRITER for request in requests]
        if not any(rewrites):
            return await self.model.generate(requests)
        results: dict[int, Completion] = {}
        for chosen, model in ((True, self._rewriter), (False, self.model)):
            indices = [i for i, rewrite in enumerate(rewrites) if rewrite == chosen]
            if indices:
                completions = await model.generate([_plain(requests[i]) for i in indices])
                results.update(zip(indices, completions, strict=True))
        return [results[i] for i in range(len(requests))]

    def bound(self, request: Request) -> Usage:
        """Return the maximum usage of a request."""
        rewrites = request.options.get(_ROLE) == _REWRITER
        return (self._rewriter if rewrites else self.model).bound(_plain(request))


def replace_request(prompt: Prompt, text: str) -> Prompt:
    """Return a prompt with another text of its last user message."""
    position = _request_position(prompt)
    if position is None:
        return prompt
    message = prompt[position].model_copy(update={"content": text})
    return (*prompt[:position], message, *prompt[position + 1 :])


def _plain(request: Request) -> Request:
    """Return a request to rewrite without its options; another one as it is."""
    if request.options.get(_ROLE) != _REWRITER:
        return request
    return request.model_copy(update={"options": {}})


def _request_position(prompt: Prompt) -> int | None:
    """Return the position of the request; ``None`` if the last message is no text of a user."""
    last = prompt[-1]
    return len(prompt) - 1 if last.role == "user" and isinstance(last.content, str) else None


def _accepted(prompt: Prompt, reply: Completion | None) -> str | None:
    """Return the rewritten request; ``None`` if the reply is empty, cut or the request itself."""
    if reply is None or reply.finish_reason == "length":
        return None
    text = reply.text.strip()
    return None if not text or text == prompt[-1].text else text
