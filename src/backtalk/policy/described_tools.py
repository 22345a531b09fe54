"""Model whose requests carry a policy's descriptions of tools."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from backtalk.models.protocol import Completion, Model, Request, Usage
from backtalk.models.wrappers.base import ModelWrapper
from backtalk.policy.prompt_template import PromptTemplate


class DescribedTools(ModelWrapper):
    """Model that reads the descriptions of a template in place of those of the request's tools.

    Parameters
    ----------
    model : Model
        Model that answers.
    template : PromptTemplate
        Template with descriptions of tools.
    """

    def __init__(self, model: Model, template: PromptTemplate) -> None:
        super().__init__(model)
        self._template = template

    @property
    def identity(self) -> str:
        """Identity of the model, with the descriptions, which its answers depend on."""
        return f"{self.model.identity} tools {self._template.version}"

    async def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """Return one completion for each request."""
        return await self.model.generate([self._described(request) for request in requests])

    def bound(self, request: Request) -> Usage:
        """Return the maximum usage of a request."""
        return self.model.bound(self._described(request))

    def _stream(self, request: Request) -> AsyncIterator[str | Completion]:
        return super()._stream(self._described(request))

    def _described(self, request: Request) -> Request:
        tools = request.options.get("tools")
        if not isinstance(tools, list):
            return request
        described = [
            self._template.with_tools([tool])[0] if isinstance(tool, dict) else tool
            for tool in tools
        ]
        return request.model_copy(update={"options": {**request.options, "tools": described}})
