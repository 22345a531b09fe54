"""Answers that a model refined by critiques, which then serve as corrections.

Scheurer et al. (2023), "Training language models with language feedback at scale": a model that
reads a critique writes a better answer more often than a worse one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from backtalk.feedback.interaction import Prompt
from backtalk.feedback.views import CritiqueView, Pair
from backtalk.learn.context import MethodContext
from backtalk.models import NamedSpec, Request
from backtalk.models.fitting_requests import generate_fitting
from backtalk.policy import Policy
from backtalk.prompts import refinement_prompt

MAX_REFINED = 300
"""Maximum number of critiques that a model follows, each with one call."""


@dataclass(frozen=True)
class Refinement:
    """Answer with the one that a model made of it by a critique."""

    prompt: Prompt
    original: str
    text: str

    @property
    def pair(self) -> Pair:
        """Preference for the refined answer."""
        return Pair(prompt=self.prompt, chosen=self.text, rejected=self.original)


def only_answers(policy: Policy) -> bool:
    """Return true if the model of a policy answers requests and nothing else.

    Recordings have no new answers, and the generator of a world has no skill but answering. Neither
    can refine an answer or write a prompt.
    """
    spec = policy.model
    return spec.kind == "replay" or (isinstance(spec, NamedSpec) and spec.name == "writer")


async def refine(context: MethodContext, critiques: Sequence[CritiqueView]) -> list[Refinement]:
    """Return the answers that the policy's model refines by critiques.

    Unchanged ones, and those that do not fit into the context window, are left out.

    Parameters
    ----------
    context : MethodContext
        Policy and run.
    critiques : sequence of CritiqueView
        Critiques; those with a refinement need no call.
    """
    results = [
        Refinement(view.prompt, view.completion, view.refinement)
        for view in critiques
        if view.refinement is not None
    ]
    open_views = [view for view in critiques if view.refinement is None][:MAX_REFINED]
    sampling = context.policy.decoder.base_sampling.model_copy(update={"temperature": 0.0})
    requests = [
        Request(
            messages=refinement_prompt(view.prompt, view.completion, view.critique),
            sampling=sampling,
            seed=context.run.seed,
        )
        for view in open_views
    ]
    if requests:
        with context.run.task("refining criticised answers", len(requests)):
            completions = await generate_fitting(context.model(), requests)
        results += [
            Refinement(view.prompt, view.completion, completion.text)
            for view, completion in zip(open_views, completions, strict=True)
            if completion is not None and completion.finish_reason != "length"
        ]
    return [one for one in results if one.text.strip() and one.text != one.original]
