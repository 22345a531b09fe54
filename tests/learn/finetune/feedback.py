"""Store with feedback of many kinds, a rule-based model, and the training tasks of a method."""

import asyncio
from functools import cache

from backtalk import prompts as wording
from backtalk.decode import Sample
from backtalk.feedback import (
    Annotator,
    Critique,
    Demonstration,
    Edit,
    Interaction,
    Label,
    Outcome,
    Ranking,
    Rating,
    Step,
    Steps,
)
from backtalk.learn import TrainingSet, get_method
from backtalk.learn.context import MethodContext
from backtalk.learn.finetune.encoding import Encoder
from backtalk.learn.finetune.registration import build_plan
from backtalk.models import Completion, FunctionModel, LocalSpec, Sampling
from backtalk.models.local.chat_template import ChatTemplate
from backtalk.models.registry import register_model
from backtalk.models.spec import NamedSpec
from backtalk.policy import Policy, save_policy
from backtalk.rewards.protocol import Scores
from backtalk.rewards.registry import register_reward
from backtalk.run import Run
from tests.models.tiny import tokenizer

ADA = Annotator.human("ada")
PROMPTS = 10
BEST, WORSE, WORST = "Yes, at nine.", "We are open.", "No."
CRITIQUE = "Say when."
ALWAYS = "Say that it opens at nine."
"""System prompt that the model follows."""


def make_interaction(number):
    return Interaction.of(f"Open {number}?", BEST, WORSE, WORST)


def every_kind(interaction, number):
    """Return feedback of every kind on an interaction."""
    common = {"interaction": interaction.id, "annotator": ADA}
    bad = {**common, "response": "2"}
    return [
        Ranking(**common, tiers=(("0",), ("1",), ("2",))),
        Critique(**bad, text=CRITIQUE),
        Label(**common, response="0", good=True),
        Label(**bad, good=False),
        Demonstration(**common, text=f"<think>Nine.</think>At nine, {number}."),
        *(
            Rating(**common, response=str(i), value=value, aspect=aspect)
            for aspect, values in (("brief", (1, 2, 5)), ("polite", (5, 4, 1 + number % 2)))
            for i, value in enumerate(values)
        ),
        Outcome(**bad, passed=False, text="No time was named."),
        *([Edit(**bad, text="No, at ten.")] if number % 2 else []),
    ]


def fill(store):
    for number in range(PROMPTS):
        record = make_interaction(number)
        store.add(record, *every_kind(record, number))


def add_steps(store, text, *verdicts, prompt="1 + 1?"):
    """Add a response with one step per line, and a verdict for each."""
    interaction = Interaction.of(prompt, text)
    steps, start = [], 0
    for line, verdict in zip(text.splitlines(keepends=True), verdicts, strict=True):
        steps.append(Step(start=start, end=start + len(line), verdict=verdict))
        start += len(line)
    store.add(
        interaction,
        Steps(interaction=interaction.id, annotator=ADA, response="0", steps=tuple(steps)),
    )


def _respond(request):
    """Model whose samples differ, and whose fourth sample has no end token."""
    last, index = request.messages[-1].text, request.sample_index
    if request.messages[0].text == ALWAYS:
        return wording.NO_ISSUES if last == wording.CRITIQUE_REQUEST else BEST
    if last == wording.CRITIQUE_REQUEST:
        draft = request.messages[-2].text
        return CRITIQUE if "nine" not in draft else wording.NO_ISSUES
    if last == CRITIQUE:
        draft = request.messages[-2].text
        return (draft, "Sorry.", "I say when: at nine.", "It ends not")[index % 4]
    if index % 4 == 3:
        return Completion(text="It never ends", finish_reason="length")
    return ("Maybe.", "Yes, at nine.", "Maybe.")[index % 4]


@register_model("rules")
def rules():
    return FunctionModel(_respond, name="rules")


RULES = Policy(model=NamedSpec(name="rules"), name="rules")


class Longest:
    """Reward that prefers longer responses."""

    name = "longest"
    bounds = (0.0, 13.0)

    async def score(self, answers):
        return Scores([0.0 + len(text) for _, text in answers])


register_reward("longest")(Longest)


def local(folder, **fields):
    """Return a policy of the tiny model in a folder."""
    decoder = Sample(sampling=Sampling(max_tokens=12))
    return Policy(model=LocalSpec(model=folder), decoder=decoder, **fields)


@cache
def _words():
    return tokenizer()


def build_tasks(name, store, *, policy=RULES, kinds=None, window=None, **options):
    """Return the training tasks of a method by name, and the number of trees left out."""
    save_policy(store, RULES)
    context = MethodContext(policy, TrainingSet(store, split="all", kinds=kinds), Run(seed=1))
    build, _ = asyncio.run(build_plan(name, context, get_method(name).read_options(options)))
    chat = ChatTemplate(_words(), name="tiny", eos_token_ids=frozenset({1}))
    encoder = Encoder(chat, max_length=window, prepare=policy.messages)
    return {task.name: task for task in build(encoder)}, encoder.left_out


def read(tree):
    """Return the prompt of a tree, and the text, value and trained text of each response."""
    decode = _words().decode
    results = []
    for branch in tree.responses:
        weights = branch.weights or (1.0,) * len(branch.tokens)
        learned = [token for token, w in zip(branch.tokens, weights, strict=True) if w]
        results.append((decode(branch.tokens), _value(branch), decode(learned)))
    return decode(tree.prompt), results


def _value(response):
    """Return the column that a response has, as a number; 0 if it has none."""
    columns = response.columns()
    assert len(columns) <= 1
    return next(iter(columns.values()), 0.0)


def texts(task):
    """The prompts and first responses of a part's trees."""
    return [(prompt, own[0][0].removesuffix("<|end|>")) for prompt, own in map(read, task.trees)]
