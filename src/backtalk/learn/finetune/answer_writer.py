"""Answers with tool calls as the texts that a policy's model writes for them."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from backtalk.feedback.answers import MessageText
from backtalk.feedback.describe import describe_message
from backtalk.feedback.interaction import Message, Prompt
from backtalk.models.errors import BadRequest, TemplateError
from backtalk.policy import Policy

if TYPE_CHECKING:
    from backtalk.models import LocalModel
    from backtalk.models.local.chat_template import ChatTemplate


class AnswerWriter:
    """Writes answers with the chat template of a policy, which is loaded for the first of them.

    Parameters
    ----------
    policy : Policy
        Policy to train.
    model : LocalModel
        Its model.
    """

    def __init__(self, policy: Policy, model: LocalModel) -> None:
        self._policy = policy
        self._model = model

    @cached_property
    def _chat(self) -> ChatTemplate:
        return self._model.load_chat()

    def __call__(self, prompt: Prompt, message: Message) -> MessageText:
        """Return an answer as the text that a sampler would return for it.

        An answer that the template cannot write is described in words; encoders leave it out with
        the reason.

        Parameters
        ----------
        prompt : Prompt
            Prompt, without the policy's own messages.
        message : Message
            Answer.
        """
        answer = MessageText(describe_message(message), message)
        try:
            tokens = self._chat.conversation_tokens(self._policy.messages(prompt), answer)
        except (TemplateError, BadRequest):
            return answer
        return MessageText(
            self._chat.answer_text(*tokens), message, marked=self._chat.marked_text(*tokens)
        )
