"""Properties of worlds.

Tasks are drawn at random from every split, with answers of every quality and with rules in and out
of scope.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from backtalk.errors import BacktalkError, RecordError, UnknownName
from backtalk.feedback import Message
from backtalk.feedback import split as splits
from backtalk.feedback.case import prompt_key
from backtalk.worlds import Assessment, ErrorRates, Rule, Split, World, apply_fixes

AnyWorld = World[Any]
SPLITS: tuple[Split, ...] = ("train", "held-out", "out-of-scope")
FAULTLESS = ErrorRates(0, 0, 0, 0, 0)
ERROR_RATES = (
    ErrorRates(),
    FAULTLESS,
    ErrorRates(0.6, 0.5, 0.6, 0.6, 1),
    ErrorRates(wrong_facts=1),
    ErrorRates(omissions=1),
)


def check_world(world: AnyWorld, *, count: int = 200) -> None:
    """Check all properties of a world.

    Parameters
    ----------
    world : World
        World to check.
    count : int, default 200
        Number of tasks of each split.
    """
    check_weights(world)
    check_description(world)
    check_parsing(world, count)
    check_splits(world, count)
    check_seeds(world, count)
    check_ideal_answers(world, count)
    check_answers_without_errors(world, count)
    check_assessments(world, count)
    check_fixes(world, count)
    check_rule_scopes(world)
    check_rule_effects(world)
    check_rule_texts(world)
    check_false_critiques(world, count // 4)
    check_foreign_prompts(world)


@dataclass(frozen=True)
class Draft:
    """Answer to a task, and the rules that apply."""

    task: Any
    rules: tuple[Rule, ...]
    text: str


def _tasks(world: AnyWorld, count: int) -> list[Any]:
    """Return ``count`` tasks of each split."""
    return [task for split in SPLITS for task in world.tasks(split, count)]


def _drafts(world: AnyWorld, count: int) -> Iterator[Draft]:
    """Yield answers with all kinds of error rates, with rules in and out of scope."""
    rng = np.random.default_rng(5)
    for task in _tasks(world, count):
        stated = [rule for rule in world.rules if rng.random() < 1.5 / len(world.rules)]
        error_rates = ERROR_RATES[rng.integers(len(ERROR_RATES))]
        yield Draft(
            task, world.applicable_rules(task, stated), world.write(task, rng, error_rates, stated)
        )


def _assess(world: AnyWorld, draft: Draft) -> Assessment:
    return world.score_answer(draft.task, draft.text, draft.rules)


def _applicable_subset(world: AnyWorld, task: Any, rng: np.random.Generator) -> Sequence[Rule]:
    """Return none, one or several of the rules that apply."""
    fitting = world.applicable_rules(task, world.rules)
    return [rule for rule in fitting if rng.random() < rng.random() ** 2]


def _prompt(task: Any, *rules: Rule) -> tuple[Message, ...]:
    """Return a task as a prompt, with rules in a system message."""
    system = (Message.system(" ".join(rule.text for rule in rules)),) if rules else ()
    return (*system, Message.user(task.text))


def check_weights(world: AnyWorld) -> None:
    """Check that weights are positive and sum to 1."""
    assert math.isclose(sum(world.weights.values()), 1, rel_tol=1e-6)
    assert min(world.weights.values()) > 0
    assert math.isclose(world.utility(dict.fromkeys(world.weights, 1.0)), 1, rel_tol=1e-6)
    assert world.utility(dict.fromkeys(world.weights, 0.0)) == 0


def check_description(world: AnyWorld) -> None:
    """Check name, description and token limit."""
    assert world.name
    assert world.description.endswith(".")
    assert world.max_tokens > 0


def check_parsing(world: AnyWorld, count: int) -> None:
    """Check that requests are parsed back to their tasks."""
    for task in _tasks(world, count):
        assert world.parse(task.text) == task
        assert hash(world.parse(task.text)) == hash(task)
        assert world.parse_prompt(_prompt(task)) == task
        elsewhere = (*_prompt(task), Message.assistant("No."), Message.user(task.text))
        assert world.parse_prompt(elsewhere) == task
        assert world.rephrase(task) not in {"", task.text}
        answer = world.ideal(task)
        assert answer in world.example(task, answer) != answer


def check_splits(world: AnyWorld, count: int) -> None:
    """Check that splits are disjoint and equal to those of learning."""
    drawn = {split: {task.text for task in world.tasks(split, count)} for split in SPLITS}
    assert [len(texts) for texts in drawn.values()] == [count] * 3
    assert len(set.union(*drawn.values())) == 3 * count
    for split in ("train", "held-out"):
        for text in drawn[split]:
            assert splits.split_for(prompt_key((Message.user(text),))) == split
    default = np.random.default_rng(11)
    assert not drawn["out-of-scope"] & {
        world.draw(default, unusual=False).text for _ in range(5 * count)
    }


def check_seeds(world: AnyWorld, count: int) -> None:
    """Check that tasks depend on split, count and seed only."""
    for split in SPLITS:
        drawn = world.tasks(split, count)
        assert world.tasks(split, count) == drawn
        assert world.tasks(split, count // 2) == drawn[: count // 2]
        assert world.prompts(split, count) == tuple(_prompt(task) for task in drawn)
        assert len(set(drawn) & set(world.tasks(split, count, seed=1))) < count / 2


def check_ideal_answers(world: AnyWorld, count: int) -> None:
    """Check that ideal answers have utility 1."""
    rng = np.random.default_rng(0)
    for task in _tasks(world, count):
        for rules in ((), _applicable_subset(world, task, rng)):
            result = world.score_answer(task, world.ideal(task, rules), rules)
            assert math.isclose(result.utility, 1, rel_tol=1e-6), (task.text, rules)
            assert (result.issues, result.passed, result.trace) == ((), True, "")
            assert all(step.truth == "right" for step in result.steps)


def check_answers_without_errors(world: AnyWorld, count: int) -> None:
    """Check that answers composed without errors have utility 1."""
    rng = np.random.default_rng(1)
    for task in _tasks(world, count):
        rules = _applicable_subset(world, task, rng)
        text = world.write(task, rng, FAULTLESS, rules)
        assert math.isclose(world.score_answer(task, text, rules).utility, 1, rel_tol=1e-6), (
            task.text,
            text,
        )
        plain = world.write(task, rng, FAULTLESS, world.rules)
        applicable_rules = world.applicable_rules(task, world.rules)
        assert math.isclose(
            world.score_answer(task, plain, applicable_rules).utility, 1, rel_tol=1e-6
        ), plain


def check_assessments(world: AnyWorld, count: int) -> None:
    """Check ranges, spans, and that a text has issues if and only if its utility is below 1."""
    faulty = 0
    for draft in _drafts(world, count):
        result = _assess(world, draft)
        assert set(result.aspects) == set(world.weights)
        assert all(0 <= value <= 1 for value in result.aspects.values()), draft
        expected = sum(world.weights[name] * value for name, value in result.aspects.items())
        assert math.isclose(result.utility, expected, rel_tol=1e-6)
        assert bool(result.issues) == (result.utility < 1 - 1e-9), draft
        assert result.passed == (not result.trace), draft
        faulty += bool(result.issues)
        assert [issue.start for issue in result.issues] == sorted(f.start for f in result.issues)
        for issue in result.issues:
            assert 0 <= issue.start <= issue.end <= len(draft.text)
            assert draft.text[issue.start : issue.end] != issue.replacement
            assert issue.aspect in world.weights
            assert issue.label
            assert issue.description.endswith(".")
            assert issue.advice
        assert _are_disjoint([(issue.start, issue.end) for issue in result.issues]), draft
        for step in result.steps:
            assert 0 <= step.start < step.end <= len(draft.text)
        assert _are_disjoint([(step.start, step.end) for step in result.steps]), draft
    assert faulty > count


def _are_disjoint(spans: Sequence[tuple[int, int]]) -> bool:
    return all(end <= start for (_, end), (start, _) in pairwise(spans))


def check_fixes(world: AnyWorld, count: int) -> None:
    """Check that all fixes together give utility 1, that none is harmful, and that most help.

    Some fixes help only together: a program with two errors fails until both are fixed.
    """
    alone = raised = 0
    for draft in _drafts(world, count):
        result = _assess(world, draft)
        mended = apply_fixes(draft.text, result.issues)
        again = world.score_answer(draft.task, mended, draft.rules)
        assert math.isclose(again.utility, 1, rel_tol=1e-6), (draft, mended)
        assert again.issues == ()
        for issue in result.issues:
            better = world.score_answer(draft.task, apply_fixes(draft.text, [issue]), draft.rules)
            assert better.utility > result.utility - 1e-9, (draft, issue)
            alone += 1
            raised += better.utility > result.utility + 1e-9
    assert raised > 0.5 * alone


def _usual_tasks(world: AnyWorld) -> list[Any]:
    rng = np.random.default_rng(2)
    return [world.draw(rng, unusual=False) for _ in range(40)]


def check_rule_scopes(world: AnyWorld) -> None:
    """Check that a rule out of scope has no effect, and that a system message states a rule."""
    rng = np.random.default_rng(3)
    drawn = _usual_tasks(world)
    for rule in world.rules:
        inside = [task for task in drawn if world.applies(rule, task)]
        assert inside, rule
        assert (rule.scope == "all") == (len(inside) == len(drawn)), rule
        for task in [inside[0], *drawn[:4]]:
            text = world.write(task, rng, ErrorRates())
            scored = world.score(_prompt(task), text, [rule])
            assert scored == world.score(_prompt(task, rule), text)
            assert scored == world.score_answer(task, text, [rule] if task in inside else [])


def check_rule_effects(world: AnyWorld) -> None:
    """Check that most rules make the ideal answer without the rule worse."""
    drawn = _usual_tasks(world)
    changing = 0
    for rule in world.rules:
        changed = False
        for task in drawn:
            default, ruled = (
                world.ideal(task),
                world.ideal(task, world.applicable_rules(task, [rule])),
            )
            if default == ruled:
                continue
            changed = True
            assert world.score(_prompt(task), default, [rule]).utility < 1 - 1e-9, rule
            assert math.isclose(
                world.score(_prompt(task), ruled, [rule]).utility, 1, rel_tol=1e-6
            ), rule
        changing += changed
    assert changing > 0.5 * len(world.rules)


def check_rule_texts(world: AnyWorld) -> None:
    """Check that rules are distinct and found in prompts."""
    texts = [rule.text for rule in world.rules]
    assert len({(rule.action, rule.scope) for rule in world.rules}) == len(texts)
    assert not [one for one in texts for other in texts if one != other and one in other]
    for i, rule in enumerate(world.rules):
        assert world.get_rule(rule.text) == rule
        prompt = _prompt(_usual_tasks(world)[0], rule, world.rules[i - 1])
        assert set(world.stated_rules(prompt)) == {rule, world.rules[i - 1]}


def check_false_critiques(world: AnyWorld, count: int) -> None:
    """Check that false critiques name no real issue and that following them lowers utility."""
    rng = np.random.default_rng(4)
    misled = 0
    for draft in _drafts(world, count):
        result = world.score_answer(draft.task, draft.text, ())
        issue = world.false_critique(draft.task, draft.text, rng)
        if issue is None:
            continue
        misled += 1
        assert issue.advice not in {true.advice for true in result.issues}, (draft, issue)
        assert issue.aspect in world.weights
        assert 0 <= issue.start <= issue.end <= len(draft.text)
        followed = world.score_answer(draft.task, apply_fixes(draft.text, [issue]), ())
        assert followed.utility < result.utility - 1e-9, (draft, issue)
    assert misled > count / 2


def check_foreign_prompts(world: AnyWorld) -> None:
    """Check that prompts of other worlds are refused."""
    for text in ("What is the time in Lima?", "", "ü" * 200):
        foreign = _error_of(world.score, (Message.user(text),), "It is late.")
        assert isinstance(foreign, RecordError)
        assert repr(text[:60]) in str(foreign)
        assert world.name in str(foreign)
    unknown = _error_of(world.get_rule, "Sing.")
    assert isinstance(unknown, UnknownName)
    assert "no rule 'Sing.'" in str(unknown)


def _error_of(function: Callable[..., object], *arguments: object) -> BacktalkError | None:
    try:
        function(*arguments)
    except BacktalkError as error:
        return error
    return None


class WorldLaws:
    """Tests of a world: subclass it in a test module and implement :meth:`world`."""

    count = 200
    """Number of tasks of each split."""

    def world(self) -> AnyWorld:
        """Return the world."""
        raise NotImplementedError

    def test_laws_of_worlds(self) -> None:
        """Check the world."""
        check_world(self.world(), count=self.count)
