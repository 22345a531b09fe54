"""World of the claims on a real model: prompts, checks, mended texts and feedback."""

import pytest
from claims.writing import CONSTRAINTS, PAIRS, SUBJECTS, Task, Writing, annotate

from backtalk.feedback import Edit, Interaction, Label, Preference, Ranking, as_prompt

WORLD = Writing()
DRAFTS = [
    "Apples are crunchy, juicy, sweetness living in season.",
    "",
    "Hello\nthere you two",
    (
        '"Lots of things" he said, and then I went away to the store where they had a lot of '
        "things and so on and more things to say about it, again."
    ),
    "I'm happy",
    "WHY NOT?",
]


def test_prompts_are_different_and_no_subject_is_in_both_splits():
    assert not set(SUBJECTS["train"]) & set(SUBJECTS["held-out"])
    prompts = WORLD.prompts("train", 200, seed=1)
    assert len({prompt[0].text for prompt in prompts}) == 200
    assert prompts == WORLD.prompts("train", 200, seed=1)
    assert prompts != WORLD.prompts("train", 200, seed=2)
    with pytest.raises(ValueError, match="held-out"):
        WORLD.prompts("held-out", 10_000)


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("draft", DRAFTS)
def test_nothing_is_wrong_with_a_mended_text(pair, draft):
    prompt = Task("tigers", pair).prompt
    assert WORLD.parse_prompt(prompt) == Task("tigers", pair)
    assessment = WORLD.score(prompt, WORLD.mend(prompt, draft))
    assert assessment.faults == ()
    assert assessment.utility == 1


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("short", "One two three.", " ".join(["word"] * 13)),
        ("person", "I like it.", "It is liked."),
        ("question", "Is it so?", "It is so."),
        ("exclamation", "It is!", "It is."),
        ("dots", "It is...", "It is."),
        ("opening", "Honestly it is.", "It is honestly so."),
        ("commas", "One two", "One, two"),
        ("lower", "all small", "Not all small"),
        ("capitals", "ALL 2", "All 2"),
        ("quotes", '"All of it."', '"All" of it.'),
    ],
)
def test_constraints_are_checked(name, good, bad):
    assert CONSTRAINTS[name].follows(good)
    assert not CONSTRAINTS[name].follows(bad)


def test_people_see_what_the_program_sees():
    task = Task("tigers", ("exclamation", "commas"))
    interaction = Interaction.of(
        task.prompt, "Tigers sleep, then hunt.", "Tigers sleep a lot!", "Tigers hunt a lot!"
    )
    kinds = ("label", "critique", "edit", "preference", "ranking")
    (case,) = annotate(WORLD, [interaction], kinds)
    assert [label.good for label in case.of(Label)] == [False, True, True]
    (edit,) = case.of(Edit)
    assert edit.text == "Tigers sleep then hunt!"
    (preference,) = case.of(Preference)
    assert preference.verdict == "b"
    (ranking,) = case.of(Ranking)
    assert ranking.tiers == (("1", "2"), ("0",))


def test_prompts_of_other_worlds_are_refused():
    with pytest.raises(ValueError, match="no request"):
        WORLD.parse_prompt(as_prompt("Write a poem."))
