"""Differences between two policies, as sentences that a person would say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import ndiff
from typing import Any

from backtalk.decode import BestOfN, DecoderBase, Rewrite, Sample
from backtalk.feedback.interaction import prompt_text
from backtalk.memory.spec import MemorySpec
from backtalk.models.endpoint.address import host_of
from backtalk.models.protocol import Sampling
from backtalk.models.spec import (
    EndpointSpec,
    LocalSpec,
    MixtureSpec,
    ModelSpec,
    NamedSpec,
    ReplaySpec,
)
from backtalk.policy.compositions import PromptCompositions
from backtalk.policy.policy import Policy
from backtalk.policy.prompt_template import Example, PromptTemplate

_SHORT = 8
"""Number of digits of an id that are shown."""


def diff(before: Policy, after: Policy) -> list[str]:
    """Return the differences between two recipes, one sentence each; empty if there are none.

    >>> from backtalk.models.spec import EndpointSpec
    >>> plain = Policy(model=EndpointSpec(model="small"))
    >>> brief = Policy(
    ...     model=EndpointSpec(model="small"),
    ...     system="Be brief.",
    ...     decoder=Sample(sampling=Sampling(temperature=0.7)),
    ... )
    >>> diff(plain, brief)
    ['The system prompt gains "Be brief."', "Temperature 0.7 instead of the server's default"]
    """
    sentences = [
        *_model(before.model, after.model),
        *_system(before.system or "", after.system or ""),
        *_template(before.prompt or PromptTemplate(), after.prompt or PromptTemplate()),
        *_compositions(before.compositions, after.compositions),
        *_memory(before.memory, after.memory),
        *_decoder(before.decoder, after.decoder),
        *_sampling(before, after),
    ]
    if sentences or before.id == after.id:
        return sentences
    return _fields("The ", before.recipe(), after.recipe())


def _model(before: ModelSpec, after: ModelSpec) -> list[str]:
    if before == after:
        return []
    old, new = describe_model(before), describe_model(after)
    sentences = [] if old == new else [f"Answers come from {new} instead of {old}"]
    named = _DESCRIBED[after.kind] if before.kind == after.kind else None
    if named is not None:
        sentences += _fields("The model's ", before.to_dict(), after.to_dict(), leave_out=named)
    return sentences


_DESCRIBED: dict[str, tuple[str, ...]] = {
    "endpoint": ("model", "base_url"),
    "local": ("model", "artifact", "adapters"),
    "replay": ("artifact",),
    "named": ("name",),
    "mixture": (),
}
"""Fields of each kind of model that its description contains."""


def describe_model(spec: ModelSpec) -> str:
    """Return a model in a few words.

    >>> describe_model(EndpointSpec(model="small", base_url="http://localhost:8000/v1"))
    'the model small at localhost:8000'
    """
    match spec:
        case EndpointSpec():
            host = "the default address" if spec.base_url is None else host_of(spec.base_url)
            return f"the model {spec.model} at {host}"
        case LocalSpec():
            name = spec.model or f"of artifact {str(spec.artifact)[:_SHORT]}"
            adapters = [f"the adapter {id_[:_SHORT]}" for id_ in spec.adapters]
            return f"the local model {name}" + (f" with {_join(adapters)}" if adapters else "")
        case ReplaySpec():
            return f"the recorded answers {spec.artifact[:_SHORT]}"
        case NamedSpec():
            return f"the registered model {spec.name}"
        case MixtureSpec():
            return f"a mixture of {_join([describe_model(model) for model in spec.models])}"


def _system(before: str, after: str) -> list[str]:
    """Return the lines that a prompt loses and gains, in their order."""
    verbs = {"- ": "loses", "+ ": "gains"}
    return [
        f'The system prompt {verbs[line[:2]]} "{line[2:]}"'
        for line in ndiff(before.splitlines(), after.splitlines())
        if line[:2] in verbs and line[2:].strip()
    ]


def _template(before: PromptTemplate, after: PromptTemplate) -> list[str]:
    demonstrations = [_example(item) for item in before.demonstrations]
    learned = [_example(item) for item in after.demonstrations]
    return [
        *_members("the rule", before.rules, after.rules),
        *_members("the demonstration", demonstrations, learned),
        *(
            f"The description of the tool {name} is {_described(after.tools.get(name))} instead "
            f"of {_described(before.tools.get(name))}"
            for name in dict.fromkeys([*before.tools, *after.tools])
            if before.tools.get(name) != after.tools.get(name)
        ),
    ]


def _members(noun: str, before: Sequence[str], after: Sequence[str]) -> list[str]:
    """Return the items that a list loses and gains; or that only their order differs."""
    lost = [f'The prompt loses {noun} "{item}"' for item in before if item not in after]
    gained = [f'The prompt gains {noun} "{item}"' for item in after if item not in before]
    if not lost and not gained and tuple(before) != tuple(after):
        return [f"The order of {noun.removeprefix('the ')}s is different"]
    return lost + gained


def _example(example: Example) -> str:
    return f"{prompt_text(example.prompt)} → {example.answer}"


def _described(description: str | None) -> str:
    return "the application's" if description is None else f'"{description}"'


def _compositions(before: PromptCompositions | None, after: PromptCompositions | None) -> list[str]:
    if before == after:
        return []
    if after is None:
        return ["All requests have the same prompt"]
    names = _join([f'"{choice.name}"' for choice in after.choices])
    return [f"Each request has one of {len(after.choices)} compositions of the prompt: {names}"]


def _memory(before: MemorySpec | None, after: MemorySpec | None) -> list[str]:
    if before == after:
        return []
    if after is None:
        return ["Answers recall no entries of a memory any more"]
    if before is None or before.name != after.name:
        return [f"Answers recall entries of {after.name} up to revision {after.revision}"]
    sentences = []
    if before.revision != after.revision:
        sentences.append(
            f"Answers recall entries of {after.name} up to revision {after.revision} instead of "
            f"{before.revision}"
        )
    leave_out = ("name", "revision")
    return sentences + _fields(
        "The memory's ", before.to_dict(), after.to_dict(), leave_out=leave_out
    )


def _decoder(before: DecoderBase, after: DecoderBase) -> list[str]:
    old, new = describe_decoder(before), describe_decoder(after)
    if old != new:
        return [f"Answers come from {new} instead of {old}"]
    if before.kind != after.kind or isinstance(after, BestOfN | Sample):
        return []
    leave_out = ("sampling",)
    return _fields("The decoder's ", before.to_dict(), after.to_dict(), leave_out=leave_out)


def describe_decoder(decoder: DecoderBase) -> str:
    """Return the way in which a decoder answers, in a few words.

    >>> describe_decoder(BestOfN(n=16, reward="0123456789abcdef"))
    'the best of 16 samples by the reward 01234567'
    """
    if isinstance(decoder, Sample):
        return "one sample"
    if isinstance(decoder, BestOfN):
        less = f" less {decoder.pessimism:g} standard deviations" if decoder.pessimism else ""
        return f"the best of {decoder.n} samples by the reward {decoder.reward[:_SHORT]}{less}"
    if isinstance(decoder, Rewrite):
        shown = len(decoder.demonstrations)
        examples = f" with {shown} demonstrations" if shown else ""
        return f"one sample for the request that a rewriter completes{examples}"
    return f"the decoder {decoder.kind}"


def _sampling(before: Policy, after: Policy) -> list[str]:
    old, new = before.decoder.base_sampling, after.decoder.base_sampling
    sentences = [
        f"{label} {_value(new, name, after)} instead of {_value(old, name, before)}"
        for name, label in _SAMPLING.items()
        if getattr(old, name) != getattr(new, name)
    ]
    if old.stop != new.stop:
        sentences.append(f"Stop texts {_format(new.stop)} instead of {_format(old.stop)}")
    return sentences


_SAMPLING = {"temperature": "Temperature", "top_p": "Top-p", "max_tokens": "Token limit"}
"""Label of each sampling parameter that is a number."""


def _value(sampling: Sampling, name: str, policy: Policy) -> str:
    value: float | None = getattr(sampling, name)
    if value is not None:
        return f"{value:g}"
    if isinstance(policy.model, EndpointSpec):
        return "the server's default"
    return f"the default {getattr(sampling, f'local_{name}'):g}"


def _fields(
    whose: str,
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    *,
    leave_out: tuple[str, ...] = (),
) -> list[str]:
    old, new = _flat(before), _flat(after)
    return [
        f"{whose}{key.replace('_', ' ')} is {_format(new.get(key))} instead of "
        f"{_format(old.get(key))}"
        for key in dict.fromkeys([*old, *new])
        if old.get(key) != new.get(key) and key.split(" ")[0] not in leave_out
    ]


def _flat(fields: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in fields.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key} ")
        else:
            flat[prefix + key] = value
    return flat


def _format(value: Any) -> str:
    if value is None:
        return "the default"
    if isinstance(value, list | tuple):
        return _join([_format(item) for item in value])
    return f'"{value}"' if isinstance(value, str) else str(value)


def _join(items: list[str]) -> str:
    if not items:
        return "none"
    return " and ".join([", ".join(items[:-1]), items[-1]] if items[1:] else items)
