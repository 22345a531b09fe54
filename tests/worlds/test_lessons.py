"""Lessons: correctness, training tasks and rules, tokens of the chat template."""

from collections import Counter
from functools import cache

import numpy as np
import pytest

from backtalk.feedback import Message
from backtalk.feedback.interaction import prompt_text
from backtalk.prompts import (
    CRITIQUE_REQUEST,
    NO_ISSUES,
    critique_prompt,
    refinement_prompt,
)
from backtalk.worlds import ErrorRates, apply_fixes, get_world, world_names
from backtalk.worlds.skills import (
    COMPARISON_REQUEST,
    MAX_NAMED_ISSUES,
    RULE_REQUEST,
    TIE_VERDICT,
    VAGUE_CRITIQUES,
    comparison_prompt,
    parse_rule,
    parse_verdict,
    rule_induction_prompt,
    true_critique,
    true_verdict,
)
from backtalk.worlds.train.curriculum import (
    DEFAULT_MIXTURE,
    GUIDANCE,
    HELD_OUT_RULE_INTERVAL,
    CurriculumGenerator,
    SkillMixture,
    held_out_rules,
    make_rule_examples,
    training_rules,
)
from backtalk.worlds.train.tokens import (
    END,
    ROLES,
    VOCABULARY,
    tokenize_conversations,
    train_tokenizer,
)
from backtalk.worlds.world import split_of

SKILLS = ("answer", "refine", "criticise", "judge", "find_rule")
every_world = pytest.mark.parametrize("world", world_names())
COUNTS = {"programs": 200}
"""Number of lessons to check; fewer in a world whose answers are programs to run."""


def count_of(world):
    return COUNTS.get(world, 3000)


def limit(share, count):
    """Return how far a share may be off by chance."""
    return 4.5 * np.sqrt(share * (1 - share) / count)


@cache
def taught(world):
    """Return lessons of a world; which requests were unusual; what the examples were made of."""
    kind = type(get_world(world))
    unusual, examples = set(), {}

    class Noting(kind):
        """The world, which keeps note of what lessons are made of."""

        def draw(self, rng, *, unusual):
            task = super().draw(rng, unusual=unusual)
            if unusual:
                noted.add(task.text)
            return task

        def example(self, task, answer):
            text = super().example(task, answer)
            examples.setdefault(text, []).append((task, answer))
            return text

    noted = unusual
    return (
        tuple(CurriculumGenerator(Noting()).conversations(count_of(world))),
        frozenset(unusual),
        examples,
    )


def skill_of(lesson):
    """Return the skill that a lesson teaches, by its request."""
    request = lesson[-2].text
    if request == CRITIQUE_REQUEST:
        return "criticise"
    if request.endswith(COMPARISON_REQUEST):
        return "judge"
    if request.endswith(RULE_REQUEST):
        return "find_rule"
    return "refine" if lesson[-3:-2] and lesson[-3].role == "assistant" else "answer"


def of_skill(world, skill):
    return [lesson for lesson in taught(world)[0] if skill_of(lesson) == skill]


def judged(lesson):
    """Return the prompt and the two responses of a lesson in judging."""
    question, rest = lesson[0].text.split("\n\nA:\n")
    a, b = rest.removesuffix(f"\n\n{COMPARISON_REQUEST}").split("\n\nB:\n")
    if not question.startswith("system: "):
        return (Message.user(question),), a, b
    system, request = question.removeprefix("system: ").split("\n\nuser: ")
    return (Message.system(system), Message.user(request)), a, b


def requests(lesson):
    """Return the requests of the world that a lesson holds."""
    skill = skill_of(lesson)
    if skill == "find_rule":
        return []
    if skill == "judge":
        return [judged(lesson)[0][-1].text]
    return [next(message.text for message in lesson if message.role == "user")]


@every_world
def test_lessons_are_taught_as_often_as_the_mixture_says(world):
    lessons, *_ = taught(world)
    results = Counter(map(skill_of, lessons))
    total = sum(getattr(DEFAULT_MIXTURE, skill) for skill in SKILLS)
    for skill in SKILLS:
        share = getattr(DEFAULT_MIXTURE, skill) / total
        assert abs(results[skill] / len(lessons) - share) < limit(share, len(lessons))


@every_world
def test_another_mixture_and_another_seed_teach_something_else(world):
    home = get_world(world)
    only = SkillMixture(answer=0, refine=0, criticise=3, judge=0, find_rule=1)
    results = Counter(map(skill_of, CurriculumGenerator(home, mixture=only).conversations(80)))
    assert set(results) == {"criticise", "find_rule"}
    assert abs(results["find_rule"] / 80 - 0.25) < limit(0.25, 80)
    again = list(CurriculumGenerator(home, seed=1).conversations(10))
    assert list(CurriculumGenerator(home, seed=1).conversations(10)) == again
    assert list(CurriculumGenerator(home).conversations(10)) != again
    untold = SkillMixture(rule_share=0, guidance_share=0, error_rates=ErrorRates(0, 0, 0, 0, 0))
    for lesson in CurriculumGenerator(home, mixture=untold).conversations(30):
        assert {message.role for message in lesson} == {"user", "assistant"}
        if skill_of(lesson) == "criticise":
            assert lesson[-1].text == NO_ISSUES


@every_world
def test_no_held_out_task_is_ever_in_a_lesson(world):
    lessons, unusual, examples = taught(world)
    home = get_world(world)
    counts = Counter()
    for lesson in lessons:
        for request in requests(lesson):
            assert home.parse(request) is not None, request
            assert request in unusual or split_of(request) == "train"
            counts["unusual" if request in unusual else "common"] += 1
    share = counts["unusual"] / counts.total()
    assert abs(share - 0.1) < limit(0.1, counts.total())
    shown = [task for pairs in examples.values() for task, _ in pairs]
    assert shown
    assert {split_of(task.text) for task in shown} == {"train"}
    assert not unusual & {task.text for task in shown}
    held_out = {task.text for task in home.tasks("held-out", 300)}
    assert not held_out & {request for lesson in lessons for request in requests(lesson)}


@every_world
def test_no_held_out_rule_is_ever_in_a_lesson(world):
    home = get_world(world)
    held_out, training = held_out_rules(home), training_rules(home)
    assert set(held_out) | set(training) == set(home.rules)
    assert not set(held_out) & set(training)
    assert len(held_out) == -(-len(home.rules) // HELD_OUT_RULE_INTERVAL)
    everything = "\n".join(message.text for lesson in taught(world)[0] for message in lesson)
    assert [rule.text for rule in held_out if rule.text in everything] == []
    assert np.mean([rule.text in everything for rule in training]) > 0.8


def system_text(prompt):
    return "".join(message.text for message in prompt if message.role == "system")


@every_world
def test_rules_and_guidance_are_told_as_often_as_the_mixture_says(world):
    home = get_world(world)
    ruled, guided, inside, rules = 0, 0, 0, 0
    drafts = of_skill(world, "answer") + of_skill(world, "criticise")
    for lesson in drafts:
        system = system_text(lesson)
        stated = [rule for rule in home.rules if rule.text in system]
        task = home.parse_prompt(lesson[:2] if system else lesson[:1])
        ruled += bool(stated)
        guided += any(words in system for words in GUIDANCE.values())
        inside += sum(home.applies(rule, task) for rule in stated)
        rules += len(stated)
        known = [*(rule.text for rule in stated), *GUIDANCE.values()]
        for words in known:
            system = system.replace(words, "")
        assert not system.strip()
    count = len(drafts)
    assert abs(ruled / count - DEFAULT_MIXTURE.rule_share) < limit(0.4, count) + 0.02
    heard = DEFAULT_MIXTURE.guidance_share * (1 - 0.5 ** len(GUIDANCE))
    assert abs(guided / count - heard) < limit(heard, count)
    # A few tasks have no rule to tell that is out of scope, or in it.
    assert abs(inside / rules - DEFAULT_MIXTURE.in_scope_share) < limit(0.6, rules) + 0.05


@every_world
def test_answers_are_those_of_a_writer_who_errs_and_heeds_what_is_told(world):
    home = get_world(world)
    plain, minded = [], []
    for *prompt, answer in of_skill(world, "answer"):
        assert answer.role == "assistant"
        utility = home.score(tuple(prompt), answer.text).utility
        heard = sum(words in system_text(prompt) for words in GUIDANCE.values())
        if not system_text(prompt):
            plain.append(utility)
        elif heard >= 2:
            minded.append(utility)
    assert 0.05 < np.mean(np.array(plain) > 1 - 1e-9) < 0.6
    error = np.hypot(np.std(plain) / len(plain) ** 0.5, np.std(minded) / len(minded) ** 0.5)
    better = np.mean(minded) - np.mean(plain)
    assert better > (3 * error if len(minded) > 50 else -3 * error)


@every_world
def test_refined_answers_follow_the_critique_to_the_letter(world):
    home = get_world(world)
    seen = Counter()
    for *prompt, draft, critique, refined in of_skill(world, "refine"):
        assert [message.role for message in (draft, critique, refined)] == [
            *("assistant", "user", "assistant"),
        ]
        before = home.score(tuple(prompt), draft.text)
        issues, text = before.issues, critique.text
        combined = issues[:MAX_NAMED_ISSUES]
        all_advice = " ".join(dict.fromkeys(issue.advice for issue in combined))
        expected = {
            apply_fixes(draft.text, [f]) for f in issues if text in {f.advice, f.description}
        }
        if text == all_advice:
            expected.add(apply_fixes(draft.text, combined))
        if text in VAGUE_CRITIQUES:
            expected = {apply_fixes(draft.text, [issue]) for issue in issues} | {
                apply_fixes(draft.text, [])
            }
            seen["vague"] += 1
        after = home.score(tuple(prompt), refined.text).utility
        if expected:
            assert refined.text in expected, (draft.text, text, refined.text)
            assert after > before.utility - 1e-9
            seen["true"] += text not in VAGUE_CRITIQUES
            seen["raised"] += text not in VAGUE_CRITIQUES and after > before.utility + 1e-9
        else:
            assert refined.text != draft.text
            assert not any(issue.advice == text for issue in issues)
            seen["false"] += 1
            seen["spoiled"] += after < before.utility - 1e-9
    total = seen["vague"] + seen["true"] + seen["false"]
    assert 0 < seen["false"] / total < 0.25
    assert 0.05 < seen["vague"] / total < 0.45
    assert seen["raised"] > 0.7 * seen["true"]
    assert seen["spoiled"] > 0.9 * seen["false"]


@every_world
def test_criticism_is_true(world):
    home = get_world(world)
    nothing = 0
    for *prompt, draft, request, critique in of_skill(world, "criticise"):
        assert request == Message.user(CRITIQUE_REQUEST)
        issues = home.score(tuple(prompt), draft.text).issues
        nothing += not issues
        advice = []
        for issue in issues:
            if issue.advice not in advice:
                advice.append(issue.advice)
        assert critique == Message.assistant(" ".join(advice[:3]) or "Nothing is wrong.")
    assert nothing


@every_world
def test_verdicts_are_true(world):
    home = get_world(world)
    seen = Counter()
    for lesson in of_skill(world, "judge"):
        prompt, a, b = judged(lesson)
        assert comparison_prompt(prompt, a, b) == lesson[:-1]
        of_a, of_b = (home.score(prompt, text) for text in (a, b))
        first, second, last = lesson[-1].text.split("\n")
        for line, name, result in ((first, "A", of_a), (second, "B", of_b)):
            named = line.removeprefix(f"{name}: ")
            if result.issues:
                assert all(issue.description in named for issue in result.issues[:1])
            else:
                assert named == "Nothing is wrong."
        difference = of_a.utility - of_b.utility
        if abs(difference) < 1e-9:
            expected = "tie"
            assert last == "Both are equally good."
        else:
            expected = "a" if difference > 0 else "b"
            assert last == f"{expected.upper()} is better."
        assert parse_verdict(lesson[-1].text) == expected
        seen[expected] += 1
    assert min(seen[better] for better in "ab") > 0.25 * seen.total()
    assert seen["tie"]


@every_world
def test_rules_that_are_found_are_those_that_the_examples_follow(world):
    home = get_world(world)
    answers_by_text = taught(world)[2]
    for *prompt, rule_message in of_skill(world, "find_rule"):
        rule = parse_rule(home, rule_message.text)
        assert rule in training_rules(home)
        (request,) = prompt
        shown = [text for text in answers_by_text if f"{text}\n\n" in request.text]
        assert rule_induction_prompt([""])[0].text == f"\n\n{RULE_REQUEST}"
        inside, outside = 0, 0
        for text in shown:
            fits = False
            for task, answer in answers_by_text[text]:
                if home.applies(rule, task):
                    follows = home.score_answer(task, answer, [rule]).utility > 1 - 1e-9
                    # What the rule asks for was not done anyway.
                    if follows and answer != home.ideal(task):
                        fits = True
                        inside += 1
                        break
                elif answer == home.ideal(task):
                    fits = True
                    outside += 1
                    break
            assert fits, text
        assert inside
        if rule.scope == "all":
            assert not outside
        else:
            assert outside or len(shown) < 3


@every_world
def test_rules_that_change_nothing_have_no_examples(world):
    home = get_world(world)
    rng = np.random.default_rng(0)
    some = [make_rule_examples(home, rule, rng) for rule in home.rules]
    assert {len(examples) for examples in some if examples} == {3}
    drawn = home.tasks("train", 100)
    for rule, examples in zip(home.rules, some, strict=True):
        changes = any(
            home.ideal(task) != home.ideal(task, [rule])
            for task in drawn
            if home.applies(rule, task)
        )
        assert bool(examples) == changes, rule


# Skills: prompts and parsing of replies.


def test_questions_are_chats_that_end_with_the_user():
    prompt = (Message.system("Be kind."), Message.user("Sing."))
    assert refinement_prompt(prompt, "La.", "Louder.") == (
        *prompt,
        Message.assistant("La."),
        Message.user("Louder."),
    )
    assert critique_prompt(prompt, "La.") == refinement_prompt(prompt, "La.", CRITIQUE_REQUEST)
    (message,) = comparison_prompt(prompt, "La.", "Lo.")
    assert message.role == "user"
    assert message.text == f"{prompt_text(prompt)}\n\nA:\nLa.\n\nB:\nLo.\n\n{COMPARISON_REQUEST}"
    (message,) = comparison_prompt(prompt[1:], "La.", "Lo.")
    assert message.text.startswith("Sing.\n\nA:\nLa.")
    (message,) = rule_induction_prompt(["La.", "Lo."])
    assert message.text == f"La.\n\nLo.\n\n{RULE_REQUEST}"


@every_world
def test_verdicts_read_back(world):
    home = get_world(world)
    rng = np.random.default_rng(0)
    for task in home.tasks("train", 30):
        texts = [home.write(task, rng, ErrorRates()), home.ideal(task)]
        good, bad = home.score_answer(task, texts[1], ()), home.score_answer(task, texts[0], ())
        if bad.issues:
            assert parse_verdict(true_verdict(good, bad)) == "a"
            assert parse_verdict(true_verdict(bad, good)) == "b"
            critique = true_critique(bad)
            assert bad.issues[0].advice in critique
        assert parse_verdict(true_verdict(bad, bad)) == "tie"
        assert true_critique(good) == NO_ISSUES
        assert true_verdict(good, good) == (f"A: {NO_ISSUES}\nB: {NO_ISSUES}\n{TIE_VERDICT}")


@pytest.mark.parametrize(
    ("text", "better"),
    [
        ("A is better.", "a"),
        ("B is better.", "b"),
        ("A: Nothing is wrong.\nB: It is too dry.\nA is better.", "a"),
        ("I say B is better", "b"),
        ("Both are equally good.", "tie"),
        ("", None),
        ("a is better.", None),
        ("CA is better.", None),
        ("A: Nothing is wrong.", None),
    ],
)
def test_verdicts_of_any_model_are_read_or_not(text, better):
    assert parse_verdict(text) == better


@every_world
def test_rules_read_back(world):
    home = get_world(world)
    for rule in home.rules:
        assert parse_rule(home, rule.text) == parse_rule(home, f" {rule.text}\n") == rule
        assert parse_rule(home, rule.text[:-1]) is None
        assert parse_rule(home, f"{rule.text} {rule.text}") is None
    assert parse_rule(home, "") is None


# Tokens.


@cache
def tokenizer():
    return train_tokenizer(lesson for world in world_names() for lesson in taught(world)[0][:300])


def as_chat(lesson):
    return [{"role": message.role, "content": message.text} for message in lesson]


@every_world
def test_tokens_are_those_of_the_chat_template(world):
    lessons = taught(world)[0][:200]
    for lesson, result in zip(lessons, tokenize_conversations(tokenizer(), lessons), strict=True):
        expected = tokenizer().apply_chat_template(as_chat(lesson), return_dict=False)
        assert result.tokens == list(expected)
        assert len(result.loss_mask) == len(result.tokens)


@every_world
def test_what_is_learned_is_what_the_assistant_says_and_the_end(world):
    lessons = taught(world)[0][:200]
    end = tokenizer().convert_tokens_to_ids(END)
    for lesson, result in zip(lessons, tokenize_conversations(tokenizer(), lessons), strict=True):
        texts, run = [], []
        for token, learned in zip(result.tokens, result.loss_mask, strict=True):
            if learned:
                run.append(token)
            if run and (token == end or not learned):
                assert run[-1] == end
                texts.append(tokenizer().decode(run[:-1]))
                run = []
        assert not run
        assert texts == [message.text for message in lesson if message.role == "assistant"]
        # The tokens before the first trained token are the prompt that a model receives.
        prompt_tokens = tokenizer().apply_chat_template(
            as_chat(lesson[:-1]), add_generation_prompt=True, return_dict=False
        )
        assert result.tokens[: len(prompt_tokens)] == list(prompt_tokens)
        assert result.loss_mask[len(prompt_tokens) - 1 :] == [False] + [True] * (
            len(result.tokens) - len(prompt_tokens)
        )


def test_tokens_of_any_text_are_its_bytes_and_digits_stand_alone():
    words = tokenizer()
    assert len(words) <= VOCABULARY
    for text in ("Grüße aus Köln 😊", "1 + 23 = 24\n\n", "  spaces  ", "日本語", "\t\x00", ""):
        assert words.decode(words.encode(text)) == text
    assert len(words.encode("8675309")) == 7
    specials = words.convert_tokens_to_ids([END, *ROLES])
    assert len(set(specials)) == 4
    assert words.eos_token_id == words.pad_token_id == specials[0]
    assert tokenize_conversations(words, []) == []


@every_world
def test_answers_fit_in_the_tokens_that_a_world_grants(world):
    home = get_world(world)
    rng = np.random.default_rng(0)
    for task in home.tasks("train", 100):
        assert len(tokenizer().encode(home.ideal(task))) < home.max_tokens
        text = home.write(task, rng, ErrorRates())
        assert len(tokenizer().encode(text)) < home.max_tokens
