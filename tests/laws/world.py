"""What holds for every world: check a new one by calling these with it.

Tasks are drawn at random from every split, with answers of every quality, standing instructions in
and out of force; a few hundred cases are enough to meet most of what a writer can get wrong.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from backtalk.errors import RecordError, UnknownName
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
    """Check all that holds for a world, on so many tasks of each split."""
    weights_sum_to_one(world)
    says_what_it_is(world)
    requests_read_back(world, count)
    splits_are_disjoint_and_those_of_learning(world, count)
    the_same_seed_gives_the_same_tasks(world, count)
    ideal_answers_are_faultless(world, count)
    careful_writers_are_faultless(world, count)
    assessments_are_sound(world, count)
    faults_can_be_mended(world, count)
    rules_hold_in_their_scope_only(world)
    rules_change_what_is_right(world)
    rules_are_told_apart(world)
    false_advice_is_false(world, count // 4)
    answers_to_nothing_of_its_own_are_refused(world)


@dataclass(frozen=True)
class Draft:
    """An answer to a task, where some rules are in force."""

    task: Any
    rules: tuple[Rule, ...]
    text: str


def tasks(world: AnyWorld, count: int) -> list[Any]:
    """Return so many tasks of each split."""
    return [task for split in SPLITS for task in world.tasks(split, count)]


def drafts(world: AnyWorld, count: int) -> Iterator[Draft]:
    """Yield answers of writers of every care, told rules in and out of their scope."""
    rng = np.random.default_rng(5)
    for task in tasks(world, count):
        told = [rule for rule in world.rules if rng.random() < 1.5 / len(world.rules)]
        error_rates = ERROR_RATES[rng.integers(len(ERROR_RATES))]
        yield Draft(
            task, world.applicable_rules(task, told), world.write(task, rng, error_rates, told)
        )


def judged(world: AnyWorld, draft: Draft) -> Assessment:
    return world.score_answer(draft.task, draft.text, draft.rules)


def one_of_each_scope(world: AnyWorld, task: Any, rng: np.random.Generator) -> Sequence[Rule]:
    """Return no rule, one in force, or several."""
    fitting = world.applicable_rules(task, world.rules)
    return [rule for rule in fitting if rng.random() < rng.random() ** 2]


def asked(task: Any, *told: Rule) -> tuple[Message, ...]:
    """Return a task as a prompt, with rules in a system message before it."""
    system = (Message.system(" ".join(rule.text for rule in told)),) if told else ()
    return (*system, Message.user(task.text))


def weights_sum_to_one(world: AnyWorld) -> None:
    assert sum(world.weights.values()) == pytest.approx(1)
    assert min(world.weights.values()) > 0
    assert world.utility(dict.fromkeys(world.weights, 1.0)) == pytest.approx(1)
    assert world.utility(dict.fromkeys(world.weights, 0.0)) == 0


def says_what_it_is(world: AnyWorld) -> None:
    assert world.name
    assert world.description.endswith(".")
    assert world.max_tokens > 0


def requests_read_back(world: AnyWorld, count: int) -> None:
    for task in tasks(world, count):
        assert world.parse(task.text) == task
        assert hash(world.parse(task.text)) == hash(task)
        assert world.parse_prompt(asked(task)) == task
        elsewhere = (*asked(task), Message.assistant("No."), Message.user(task.text))
        assert world.parse_prompt(elsewhere) == task
        assert world.rephrase(task) not in {"", task.text}
        answer = world.ideal(task)
        assert answer in world.example(task, answer) != answer


def splits_are_disjoint_and_those_of_learning(world: AnyWorld, count: int) -> None:
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


def the_same_seed_gives_the_same_tasks(world: AnyWorld, count: int) -> None:
    for split in SPLITS:
        drawn = world.tasks(split, count)
        assert world.tasks(split, count) == drawn
        assert world.tasks(split, count // 2) == drawn[: count // 2]
        assert world.prompts(split, count) == tuple(asked(task) for task in drawn)
        assert len(set(drawn) & set(world.tasks(split, count, seed=1))) < count / 2


def ideal_answers_are_faultless(world: AnyWorld, count: int) -> None:
    rng = np.random.default_rng(0)
    for task in tasks(world, count):
        for rules in ((), one_of_each_scope(world, task, rng)):
            result = world.score_answer(task, world.ideal(task, rules), rules)
            assert result.utility == pytest.approx(1), (task.text, rules)
            assert (result.issues, result.passed, result.trace) == ((), True, "")
            assert all(step.truth == "right" for step in result.steps)


def careful_writers_are_faultless(world: AnyWorld, count: int) -> None:
    rng = np.random.default_rng(1)
    for task in tasks(world, count):
        rules = one_of_each_scope(world, task, rng)
        text = world.write(task, rng, FAULTLESS, rules)
        assert world.score_answer(task, text, rules).utility == pytest.approx(1), (task.text, text)
        plain = world.write(task, rng, FAULTLESS, world.rules)
        applicable_rules = world.applicable_rules(task, world.rules)
        assert world.score_answer(task, plain, applicable_rules).utility == pytest.approx(1), plain


def assessments_are_sound(world: AnyWorld, count: int) -> None:
    """Aspects and utility in [0, 1], faults exactly where it is below 1, everything in place."""
    faulty = 0
    for draft in drafts(world, count):
        result = judged(world, draft)
        assert set(result.aspects) == set(world.weights)
        assert all(0 <= value <= 1 for value in result.aspects.values()), draft
        expected = sum(world.weights[name] * value for name, value in result.aspects.items())
        assert result.utility == pytest.approx(expected)
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
        for one, following in pairwise(result.issues):
            assert one.end <= following.start, draft
        for step in result.steps:
            assert 0 <= step.start < step.end <= len(draft.text)
        for one, following in pairwise(result.steps):
            assert one.end <= following.start, draft
    assert faulty > count


def faults_can_be_mended(world: AnyWorld, count: int) -> None:
    """All together they leave nothing wrong; none makes it worse, and most help.

    Some help only together with others: a program that is wrong in two places fails all the same.
    """
    alone = raised = 0
    for draft in drafts(world, count):
        result = judged(world, draft)
        mended = apply_fixes(draft.text, result.issues)
        again = world.score_answer(draft.task, mended, draft.rules)
        assert again.utility == pytest.approx(1), (draft, mended)
        assert again.issues == ()
        for issue in result.issues:
            better = world.score_answer(draft.task, apply_fixes(draft.text, [issue]), draft.rules)
            assert better.utility > result.utility - 1e-9, (draft, issue)
            alone += 1
            raised += better.utility > result.utility + 1e-9
    assert raised > 0.5 * alone


def some_tasks(world: AnyWorld) -> list[Any]:
    rng = np.random.default_rng(2)
    return [world.draw(rng, unusual=False) for _ in range(40)]


def rules_hold_in_their_scope_only(world: AnyWorld) -> None:
    """A rule outside its scope changes no judgement; in a system message it holds as if given."""
    rng = np.random.default_rng(3)
    drawn = some_tasks(world)
    for rule in world.rules:
        inside = [task for task in drawn if world.applies(rule, task)]
        assert inside, rule
        assert (rule.scope == "all") == (len(inside) == len(drawn)), rule
        for task in [inside[0], *drawn[:4]]:
            text = world.write(task, rng, ErrorRates())
            given = world.score(asked(task), text, [rule])
            assert given == world.score(asked(task, rule), text)
            assert given == world.score_answer(task, text, [rule] if task in inside else [])


def rules_change_what_is_right(world: AnyWorld) -> None:
    """What follows a rule in force is wrong without it, and the other way round."""
    drawn = some_tasks(world)
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
            assert world.score(asked(task), default, [rule]).utility < 1 - 1e-9, rule
            assert world.score(asked(task), ruled, [rule]).utility == pytest.approx(1), rule
        changing += changed
    assert changing > 0.5 * len(world.rules)


def rules_are_told_apart(world: AnyWorld) -> None:
    texts = [rule.text for rule in world.rules]
    assert len({(rule.action, rule.scope) for rule in world.rules}) == len(texts)
    assert not [one for one in texts for other in texts if one != other and one in other]
    for i, rule in enumerate(world.rules):
        assert world.get_rule(rule.text) == rule
        told = asked(some_tasks(world)[0], rule, world.rules[i - 1])
        assert set(world.stated_rules(told)) == {rule, world.rules[i - 1]}


def false_advice_is_false(world: AnyWorld, count: int) -> None:
    """It is about nothing that is wrong, and who follows it has a worse answer."""
    rng = np.random.default_rng(4)
    misled = 0
    for draft in drafts(world, count):
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


def answers_to_nothing_of_its_own_are_refused(world: AnyWorld) -> None:
    for text in ("What is the time in Lima?", "", "ü" * 200):
        with pytest.raises(RecordError) as refused:
            world.score((Message.user(text),), "It is late.")
        assert repr(text[:60]) in str(refused.value)
        assert world.name in str(refused.value)
    with pytest.raises(UnknownName, match=r"no rule 'Sing\.'"):
        world.get_rule("Sing.")
