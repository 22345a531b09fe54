"""Method ``rewrite-request``: requests are rewritten before they are answered."""

from __future__ import annotations

from collections.abc import Sequence

from backtalk.decode import Sample
from backtalk.learn.method import Paper
from backtalk.learn.prompt.optimiser import Search, optimiser
from backtalk.learn.prompt.proposers.rewriting import RewritingProposer, reformulations
from backtalk.learn.prompt.protocol import Proposer
from backtalk.learn.prompt.writer import InstructionWriter
from backtalk.learn.requirements import PolicyRequirement
from backtalk.policy import Policy


def _draws_one_sample(policy: Policy) -> bool:
    return isinstance(policy.decoder, Sample)


@optimiser(
    "rewrite-request",
    paper=Paper(
        "On the open prompt challenge in conditional audio generation",
        "Chang et al.",
        2024,
        "https://arxiv.org/abs/2311.00897",
    ),
    formula="rewriter = argmax over rewriters of mean reward(x, answer(rewriter(x))); a rewritten "
    "request with reward(rewritten) - reward(x) above a margin becomes a demonstration",
    example="-o rewriter=NAME",
    requires=[PolicyRequirement("a policy whose decoder draws one sample", _draws_one_sample)],
)
async def rewrite_request(search: Search, *, rewriter: str | None = None) -> Sequence[Proposer]:
    """Rewrite under-specified requests before they are answered.

    The learned policy has the decoder ``rewrite``: a model rewrites the user's request, and the
    policy's model answers what it wrote. Instructions and demonstrations of the rewriter are chosen
    by the answers that follow. Demonstrations are reformulations of users, and rewritten requests
    whose answers rank above those to the original ones.

    Parameters
    ----------
    search : Search
        Context, signal and writer.
    rewriter : str, optional
        Policy whose model rewrites; the policy itself by default.
    """
    context = search.context
    spec = None if rewriter is None else context.get_policy(rewriter).model
    writer = search.writer if isinstance(search.writer, InstructionWriter) else None
    return [RewritingProposer(reformulations(context.feedback), writer=writer, rewriter=spec)]
