"""Method ``draft``: documentation of tools from trial and error."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, JsonValue

from backtalk.embedders.registry import EmbedderName
from backtalk.errors import BacktalkError
from backtalk.feedback.case import prompt_key
from backtalk.feedback.interaction import Prompt
from backtalk.feedback.record import now
from backtalk.learn.context import MethodContext
from backtalk.learn.method import Paper, method
from backtalk.learn.prompt.learning import (
    MAX_CONFIRMATION,
    MAX_EXAMPLES,
    MIN_PROMPTS,
    affordable_confirmation,
    no_improvement,
    result_notes,
    split_prompts,
)
from backtalk.learn.prompt.refinements import only_answers
from backtalk.learn.prompt.search import SearchSettings, search
from backtalk.learn.prompt.tools.calls import (
    ToolDefinition,
    ToolTrial,
    definition_name,
)
from backtalk.learn.prompt.tools.executors import make_executor
from backtalk.learn.prompt.tools.exploration import MAX_SIMILARITY, STOP_SIMILARITY, Ask
from backtalk.learn.prompt.tools.proposer import DocumentationProposer
from backtalk.learn.prompt.tools.signal import CallSignal
from backtalk.learn.prompt.tools.transcripts import recorded_tools, recorded_trials, right_calls
from backtalk.learn.prompt.writer import InstructionWriter, world_of
from backtalk.learn.requirements import FeedbackRequirement
from backtalk.learn.training_set import TrainingSet
from backtalk.models import Sampling
from backtalk.policy import Lineage, Policy
from backtalk.rewards.judge_info import JudgeInfo
from backtalk.run import Run

PAPER = Paper(
    "From exploration to mastery: enabling LLMs to master tools via self-driven interactions",
    "Qu et al.",
    2024,
    "https://arxiv.org/abs/2410.08197",
)
_WRITER_SAMPLING = Sampling(temperature=0.7, max_tokens=500)


def _enough_calls(feedback: TrainingSet) -> bool:
    trials = recorded_trials(feedback)
    requests = {prompt_key(trial.request) for trial in trials if trial.request is not None}
    return len(requests) >= MIN_PROMPTS and bool(recorded_tools(feedback))


@method(
    "draft",
    target="prompt",
    needs=[],
    requires=[
        FeedbackRequirement(
            f"{MIN_PROMPTS} requests with tool calls, their results and the tools' definitions, or "
            "the options -o tools=FILE and -o executor=COMMAND",
            _enough_calls,
            definite=False,
        )
    ],
    paper=PAPER,
    formula="d_i = rewrite(d_{i-1}, critique(d_{i-1}, trial_i)); a trial differs from earlier ones "
    "by max similarity < 0.9; stop if (cosine + BLEU)(d_i, d_{i-1}) / 2 > 0.75",
    example='-o executor="python tools.py"',
)
async def draft(
    policy: Policy,
    feedback: TrainingSet,
    run: Run,
    *,
    tools: str | None = None,
    executor: str | None = None,
    writer: str | None = None,
    rewrite: bool = True,
    rounds: Annotated[int, Field(ge=1)] = 5,
    max_similarity: Annotated[float, Field(gt=0, le=1)] = MAX_SIMILARITY,
    stop_similarity: Annotated[float, Field(gt=0, le=1)] = STOP_SIMILARITY,
    candidates: Annotated[int, Field(ge=1)] = 8,
    examples: Annotated[int, Field(ge=4)] = MAX_EXAMPLES,
    confirmation: Annotated[int, Field(ge=4)] = MAX_CONFIRMATION,
    level: Annotated[float, Field(gt=0.5, lt=1)] = 0.95,
    embedder: EmbedderName = "hashed",
) -> Policy:
    """Rewrite the documentation of tools by trial and error.

    Recorded tool calls with their results are trials that cost nothing; with an executor, new
    calls are tried as well. Notes on what failed and what worked amend the documentation without a
    model. A model that can write explores, criticises and rewrites it. The calls that the policy
    makes with each documentation are compared: they have to succeed, and to be those that
    succeeded before for the same request. Half of the requests confirm the winner.

    Parameters
    ----------
    policy : Policy
        Policy whose model calls the tools.
    feedback : TrainingSet
        Interactions with tool calls and results.
    run : Run
        Seed, budget and cache.
    tools : str, optional
        File with a JSON list of tool definitions; those of the recorded requests by default.
    executor : str, optional
        Address or command that runs a call; it gets ``{"name": ..., "arguments": {...}}``.
        Default: only recorded results are used.
    writer : str, optional
        Policy whose model explores and writes; the policy itself by default.
    rewrite : bool, default True
        If false, no model writes.
    rounds : int, default 5
        Maximum number of trials by which the model rewrites one description.
    max_similarity : float, default 0.9
        Cosine similarity to an earlier request, up to 1, from which a request is not tried.
    stop_similarity : float, default 0.75
        Similarity of two versions, up to 1, from which a description is finished.
    candidates : int, default 8
        Maximum number of prompts that the search compares.
    examples : int, default 64
        Maximum number of requests that the search answers.
    confirmation : int, default 100
        Maximum number of other requests that confirm the winner.
    level : float, default 0.95
        Probability that no improvement is reported if there is none, over the whole search.
    embedder : {"hashed", "sentence"}, default "hashed"
        Embedder of requests and descriptions.

    Raises
    ------
    NoImprovement
        If no documentation is shown to be better.
    BacktalkError
        If there are no definitions of tools, or too few requests.
    """
    definitions = recorded_tools(feedback) if tools is None else read_tools(Path(tools))
    if not definitions:
        raise BacktalkError(
            "The recorded requests name no tools",
            "Pass a JSON list of their definitions: -o tools=FILE",
        )
    execute = None if executor is None else make_executor(executor)
    trials = recorded_trials(feedback)
    right = right_calls(trials)
    requests = _requests(trials, feedback, with_executor=execute is not None)
    scored = [one for one in requests if execute is not None or prompt_key(one) in right]
    if execute is None and not scored:
        raise BacktalkError(
            "The feedback has no recorded tool calls that succeeded",
            "Pass a command or an address that runs calls: -o executor=COMMAND",
        )
    split = split_prompts(
        feedback, scored, seed=run.seed, examples=examples, confirmation=confirmation
    )
    context = MethodContext(policy, feedback, run)
    hidden = split.confirmation_keys
    seen = [one for one in trials if one.request is None or prompt_key(one.request) not in hidden]
    signal = CallSignal(right, execute, seen, split.examples)
    proposer = DocumentationProposer(
        definitions,
        signal,
        ask=_asking(context, writer) if rewrite else None,
        rounds=rounds,
        max_similarity=max_similarity,
        stop_similarity=stop_similarity,
        embedder=embedder,
    )
    settings = SearchSettings(candidates=candidates, level=level)
    result = await search(
        context,
        signal,
        [proposer],
        examples=split.examples,
        confirmation=split.confirmation[: affordable_confirmation(run, settings)],
        confirmation_signal=CallSignal(right, execute, trials, split.confirmation),
        settings=settings,
        tools={prompt_key(prompt): list(definitions.values()) for prompt in scored},
    )
    if not result.improved:
        raise no_improvement(result)
    options: dict[str, JsonValue] = {
        "rewrite": rewrite,
        "rounds": rounds,
        "candidates": candidates,
        "examples": examples,
        "confirmation": confirmation,
        "level": level,
        "embedder": embedder,
        **({} if tools is None else {"tools": tools}),
        **({} if executor is None else {"executor": executor}),
        **({} if writer is None else {"writer": writer}),
    }
    lineage = Lineage(
        method="draft",
        parent=policy.id,
        options=options,
        seed=run.seed,
        snapshot=feedback.snapshot,
        rewards=(JudgeInfo(name="success of tool calls"),),
        time=now(),
        notes={**result_notes(result, signal.weights, feedback), "trials": len(signal.known)},
    )
    return result.best.apply(policy, lineage)


def read_tools(path: Path) -> dict[str, ToolDefinition]:
    """Return the definitions of tools in a JSON file, by name.

    Raises
    ------
    BacktalkError
        If the file is not a list of definitions of functions.
    """
    try:
        data: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BacktalkError(
            f"The file {path} with the tools cannot be read: {error}",
            "Pass a JSON list of definitions as a request has them: -o tools=FILE",
        ) from None
    items = [item for item in (data if isinstance(data, list) else ()) if isinstance(item, dict)]
    named: dict[str, ToolDefinition] = {
        name: item for item in items if (name := definition_name(item)) is not None
    }
    if not named:
        raise BacktalkError(
            f"The file {path} has no definition of a function",
            'Write a list of {"type": "function", "function": {"name": ..., "parameters": ...}}',
        )
    return named


def _requests(
    trials: Sequence[ToolTrial], feedback: TrainingSet, *, with_executor: bool
) -> list[Prompt]:
    """Return the distinct requests that led to tool calls; with an executor, the other ones too.

    Prompts that end with a result of a tool go on from a request, and are none.
    """
    requests: dict[str, Prompt] = {
        prompt_key(trial.request): trial.request for trial in trials if trial.request is not None
    }
    if with_executor:
        requests |= {
            prompt_key(prompt): prompt for prompt in feedback.prompts() if prompt[-1].role == "user"
        }
    return list(requests.values())


def _asking(context: MethodContext, writer: str | None) -> Ask | None:
    """Return the model that explores and writes; ``None`` for one that only answers."""
    policy = context.get_policy(writer)
    if only_answers(policy) or world_of(policy) is not None:
        return None
    model = InstructionWriter(context.model(policy), _WRITER_SAMPLING)

    async def ask(request: Prompt, seed: int) -> str:
        (reply,) = await model.ask([request], seed=seed)
        return reply

    return ask
