"""Differences between prompt templates and memories, as sentences."""

import pytest

from backtalk.feedback import as_prompt
from backtalk.memory import MemorySpec
from backtalk.models.spec import EndpointSpec
from backtalk.policy import Policy, PromptTemplate, diff
from backtalk.policy.prompt_template import Example

SHORT, LONG = (
    Example(prompt=as_prompt("Hi"), answer="Hi."),
    Example(prompt=as_prompt("Hi"), answer="Hello."),
)


def policy(*, memory=None, **slots):
    prompt = PromptTemplate(**slots) if slots else None
    return Policy(model=EndpointSpec(model="small"), prompt=prompt, memory=memory)


@pytest.mark.parametrize(
    ("before", "after", "sentences"),
    [
        (
            policy(rules=("Be brief.", "Be kind.")),
            policy(rules=("Be kind.", "Name the hour.")),
            ['The prompt loses the rule "Be brief."', 'The prompt gains the rule "Name the hour."'],
        ),
        (
            policy(rules=("A.", "B.")),
            policy(rules=("B.", "A.")),
            ["The order of rules is different"],
        ),
        (
            policy(),
            policy(demonstrations=(SHORT,)),
            ['The prompt gains the demonstration "Hi → Hi."'],
        ),
        (
            policy(demonstrations=(SHORT, LONG)),
            policy(demonstrations=(SHORT,)),
            ['The prompt loses the demonstration "Hi → Hello."'],
        ),
        (
            policy(tools={"find": "Finds."}),
            policy(),
            ['The description of the tool find is the application\'s instead of "Finds."'],
        ),
        (
            policy(),
            policy(memory=MemorySpec(revision=3)),
            ["Answers recall entries of memory up to revision 3"],
        ),
        (
            policy(memory=MemorySpec(revision=3)),
            policy(memory=MemorySpec(revision=5, limit=4)),
            [
                "Answers recall entries of memory up to revision 5 instead of 3",
                "The memory's limit is 4 instead of 8",
            ],
        ),
        (
            policy(memory=MemorySpec(revision=3)),
            policy(),
            ["Answers recall no entries of a memory any more"],
        ),
    ],
)
def test_changes_of_a_prompt_or_a_memory_are_sentences(before, after, sentences):
    assert diff(before, after) == sentences
