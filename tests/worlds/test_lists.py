"""Lists: parsing, scoring, and fixes that can be applied literally."""

import re
from collections import Counter
from itertools import combinations, permutations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from backtalk.worlds import get_world
from backtalk.worlds.lists.layout import ENDINGS, SEPARATORS, ListLayout, layout_for
from backtalk.worlds.lists.scoring import score_list
from backtalk.worlds.lists.task import CHORES, WORDS, ListsTask
from backtalk.worlds.lists.world import ListsWorld
from backtalk.worlds.world import ErrorRates, apply_fixes
from tests.operations import count_lines

WORLD = ListsWorld()
PERFECT = ErrorRates(0, 0, 0, 0, 0)


def drawn(count=400, seed=0):
    rng = np.random.default_rng(seed)
    return [WORLD.draw(rng, unusual=index % 4 == 0) for index in range(count)]


TASKS = drawn()
SORT = ListsTask("alphabet", ("pear", "fig", "apple", "kiwi"))
THIN = ListsTask("word", ("pear", "fig", "apple", "fig"), "fig")
PLAN = WORLD.parse("Order the chores: wash before dry; cook before eat; shop before cook.")
IRON_TOO = "wash, shop, cook, dry, eat, iron"

layouts = st.builds(
    ListLayout,
    separator=st.sampled_from(list(SEPARATORS)),
    capitals=st.booleans(),
    dashes=st.booleans(),
    opening=st.booleans(),
    ending=st.sampled_from(list(ENDINGS)),
)
tasks = st.sampled_from(TASKS)
seeds = st.integers(0, 10**9)


@st.composite
def drafts(draw):
    """A task, a layout, and a text that may have very little to do with either."""
    task, layout = draw(tasks), draw(layouts)
    rng = np.random.default_rng(draw(seeds))
    rules = [rule for rule in WORLD.rules if rng.random() < 0.05]
    error_rates = draw(st.sampled_from([ErrorRates(), PERFECT, ErrorRates(0.5, 0.4, 0.5, 0.5, 1)]))
    text = WORLD.write(task, rng, error_rates, rules)
    pieces = re.findall(r"\w+|\s+|[^\w\s]+", text)
    junk = st.sampled_from([*task.words, "xyz", "And", "Done.", "Here you are: ", "\n", "; ", "- "])
    for how in draw(
        st.lists(st.sampled_from(["drop", "swap", "double", "cut", "put"]), max_size=4)
    ):
        if not pieces:
            break
        i, j = (int(rng.integers(len(pieces))) for _ in range(2))
        if how == "drop":
            del pieces[i]
        elif how == "swap":
            pieces[i], pieces[j] = pieces[j], pieces[i]
        elif how == "double":
            pieces[i:i] = pieces[i : i + 3]
        elif how == "cut":
            last = pieces[i]
            pieces = [*pieces[:i], last[: len(last) // 2]]
        else:
            pieces[i:i] = [f" {draw(junk)} "]
    return task, layout, "".join(pieces)


def sound(task, layout, text):
    """Check what must hold of every judgement, and return it."""
    truth = score_list(task, text, layout)
    assert set(truth.aspects) == set(WORLD.weights)
    assert all(0 <= value <= 1 for value in truth.aspects.values())
    assert truth.utility == pytest.approx(WORLD.utility(truth.aspects))
    assert bool(truth.issues) == (truth.utility < 1 - 1e-9)
    assert {issue.aspect for issue in truth.issues} <= set(WORLD.weights)
    assert truth.passed == (not truth.trace)
    assert truth.passed == all(
        truth.aspects[name] == 1 for name in ("right", "complete", "relevant")
    )
    end = 0
    for issue in truth.issues:
        assert end <= issue.start <= issue.end <= len(text)
        assert text[issue.start : issue.end] != issue.replacement
        end = issue.end
        for sentence in (issue.description, issue.advice):
            assert sentence.endswith(".")
            assert len(sentence.split()) <= 10
    return truth


def test_the_world_is_registered_and_its_weights_sum_to_one():
    assert isinstance(get_world("lists"), ListsWorld)
    assert sum(WORLD.weights.values()) == pytest.approx(1)
    assert len(WORLD.rules) == len({rule.text for rule in WORLD.rules}) >= 8
    for a, b in permutations(WORLD.rules, 2):
        assert a.text not in b.text


def test_requests_can_be_read_back():
    for task in drawn(4000, seed=1):
        assert WORLD.parse(task.text) == task
        assert hash(WORLD.parse(task.text)) == hash(task)
        assert len(re.findall(r"\w+|[^\w\s]", task.text)) <= 25
        assert task.text not in WORLD.rephrase(task)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "What is the time?",
        "Sort by the alphabet: .",
        "Sort by the alphabet: fig, fig, apple.",
        "Sort by the alphabet: fig; apple.",
        "Take out the word pear: fig, apple.",
        "Take out every word that begins with fi: fig, apple, pear.",
        "Order the chores: wash before dry; dry before wash.",
        "Order the chores: wash before dry; eat.",
    ],
)
def test_foreign_requests_are_not_read(text):
    assert WORLD.parse(text) is None


def test_splits_share_no_task_and_the_unusual_ones_are_of_a_sort_of_their_own():
    results = {split: WORLD.tasks(split, 300) for split in ("train", "held-out", "out-of-scope")}
    for a, b in combinations(results.values(), 2):
        assert not set(a) & set(b)
    assert {task.kind for task in results["out-of-scope"]} == {"reverse", "length"}
    assert {task.kind for task in results["train"]} == {"alphabet", "word", "letter", "chores"}


def test_any_order_that_keeps_to_the_constraints_is_right():
    def keeps(order):
        return all(order.index(a) < order.index(b) for a, b in PLAN.constraints)

    for order in permutations(PLAN.words):
        assert (score_list(PLAN, ", ".join(order), ListLayout()).utility == 1) == keeps(order)


def test_only_one_order_by_the_alphabet_is_right():
    best = [
        o for o in permutations(SORT.words) if score_list(SORT, ", ".join(o), ListLayout()).passed
    ]
    assert best == [("apple", "fig", "kiwi", "pear")]


@given(tasks, seeds)
def test_the_ideal_answer_has_no_fault_whatever_rules_are_in_force(task, seed):
    rng = np.random.default_rng(seed)
    rules = [rule for rule in WORLD.rules if rng.random() < 0.1]
    ruled = WORLD.applicable_rules(task, rules)
    truth = WORLD.score_answer(task, WORLD.ideal(task, ruled), ruled)
    assert (truth.utility, truth.issues, truth.passed, truth.trace) == (1, (), True, "")
    written = WORLD.write(task, rng, PERFECT, rules)
    assert WORLD.score_answer(task, written, ruled).utility == 1


def test_rules_change_what_is_right_within_their_scope_only():
    for task in TASKS[:60]:
        for rule in WORLD.rules:
            without, within = WORLD.ideal(task), WORLD.ideal(task, [rule])
            for text, rules in ((without, [rule]), (within, [])):
                truth = WORLD.score_answer(task, text, rules)
                assert {issue.aspect for issue in truth.issues} == {"manner"}
                assert truth.passed
            if task.kind in {"reverse", "length"}:
                assert WORLD.applies(rule, task) == (rule.scope == "all")
    scopes = {rule.scope for rule in WORLD.rules}
    for scope in scopes:
        assert any(WORLD.applies(r, t) for r in WORLD.rules if r.scope == scope for t in TASKS)


def content(truth):
    """The utility that the manner has no part in."""
    return WORLD.utility({**truth.aspects, "manner": 1.0})


@settings(max_examples=600, deadline=None)
@given(drafts())
@example(
    (
        ListsTask("letter", ("sun", "zebra", "cup", "candle", "tree", "bread"), "c", ()),
        ListLayout(),
        "Here youHere you are: - SUN- SUN",
    )
)
def test_what_is_wrong_can_be_mended_together_and_one_by_one(draft):
    task, layout, text = draft
    truth = sound(task, layout, text)
    mended = score_list(task, apply_fixes(text, truth.issues), layout)
    assert mended.utility == 1
    for issue in truth.issues:
        better = score_list(task, apply_fixes(text, [issue]), layout)
        # A mend can let words be read as an opening, which the manner may not want.
        assert content(better) >= content(truth) - 1e-9
        if issue.aspect == "manner":
            assert better.utility >= truth.utility - 1e-9
        else:
            assert content(better) > content(truth)


@settings(max_examples=300, deadline=None)
@given(tasks, layouts, st.text() | st.text(alphabet="- ,;.\nanfig"))
def test_any_text_can_be_judged_and_mended(task, layout, text):
    truth = sound(task, layout, text)
    assert score_list(task, apply_fixes(text, truth.issues), layout).utility == 1


@pytest.mark.parametrize(
    "text",
    [
        lambda count: "fig, " * count,
        lambda count: " " * count + "x",
        lambda count: "and " * count,
        lambda count: "\n- " * count + "Done.",
    ],
)
def test_the_work_of_judging_grows_no_faster_than_the_text(text):
    short, long = (
        count_lines(lambda count=count: sound(SORT, ListLayout(), text(count)))
        for count in (500, 2000)
    )
    assert long < 5 * short


@pytest.mark.parametrize("text", ["fig, " * 5000, " " * 50_000 + "x", "\n- " * 20_000 + "Done."])
def test_very_long_texts_can_be_judged(text):
    sound(SORT, ListLayout(), text)


@pytest.mark.parametrize(
    ("task", "text", "description", "advice", "trace"),
    [
        (
            SORT, "fig, apple, kiwi, pear", "The word fig is too early.", "Put fig after apple.",
            "expected apple, fig, kiwi, pear; found fig, apple, kiwi, pear",
        ),
        (
            SORT, "apple, pear, fig, kiwi", "The word pear is too early.", "Put pear after kiwi.",
            "expected apple, fig, kiwi, pear; found apple, pear, fig, kiwi",
        ),
        (
            SORT, "kiwi, fig, apple, pear", "The words kiwi and apple are out of place.",
            "Swap kiwi and apple.", "expected apple, fig, kiwi, pear; found kiwi, fig, apple, pear",
        ),
        (
            SORT, "pear, kiwi, fig, apple", "The whole order is wrong.",
            "Write apple, fig, kiwi, pear.",
            "expected apple, fig, kiwi, pear; found pear, kiwi, fig, apple",
        ),
        (
            SORT, "apple, pear, plum, fig, kiwi", "From pear to kiwi it is wrong.",
            "From pear to kiwi write fig, kiwi, pear.",
            "expected apple, fig, kiwi, pear; found apple, pear, plum, fig, kiwi",
        ),
        (
            SORT, "apple, kiwi, pear", "A word is missing.", "Add fig after apple.",
            "expected apple, fig, kiwi, pear; found apple, kiwi, pear",
        ),
        (
            SORT, "apple, fig, kiwi, fig, pear", "A word is there twice.",
            "Leave out the second fig.",
            "expected apple, fig, kiwi, pear; found apple, fig, kiwi, fig, pear",
        ),
        (
            SORT, "", "The list is missing.", "Write apple, fig, kiwi, pear.",
            "expected apple, fig, kiwi, pear; found nothing",
        ),
        (
            THIN, "pear, fig, apple", "A word was to be taken out.", "Take out fig.",
            "expected pear, apple; found pear, fig, apple",
        ),
        (
            THIN, "pear, plum, apple", "A word does not belong there.", "Leave out plum.",
            "expected pear, apple; found pear, plum, apple",
        ),
        (
            PLAN, IRON_TOO, "A word does not belong there.",
            "Leave out iron.",
            f"expected each of wash, dry, cook, eat, shop; found {IRON_TOO}",
        ),
        (
            PLAN, "wash, dry, cook, shop, eat", "The word cook is too early.",
            "Put cook after shop.",
            "expected shop before cook; found wash, dry, cook, shop, eat",
        ),
        (SORT, "apple; fig; kiwi; pear", "The separators do not fit.", "Use commas.", ""),
        (SORT, "apple, fig, Kiwi, pear", "The letters do not fit.", "Use small letters.", ""),
        (
            SORT, "- APPLE\n- FIG\n- KIWI\n- PEAR", "The layout does not fit.",
            "Use commas, small letters and no dashes.", "",
        ),
        (
            SORT, "Here you are: apple, fig, kiwi, pear", "The beginning does not fit.",
            "Leave out Here you are.", "",
        ),
        (SORT, "apple, fig, kiwi, pear. Done.", "The end does not fit.", "Leave out Done.", ""),
    ],
)  # fmt: skip
def test_a_fault_is_named_and_what_mends_it(task, text, description, advice, trace):
    truth = sound(task, ListLayout(), text)
    assert [(issue.description, issue.advice) for issue in truth.issues] == [(description, advice)]
    assert truth.trace == trace


def carried_out(words, advice):  # noqa: PLR0911 - one for each form of advice
    """Return the words that a reader writes who does what the advice says."""
    match re.findall(r"\w+", advice):
        case ["Put", word, where, other]:
            rest = [w for w in words if w != word]
            index = rest.index(other) + (where == "after")
            return [*rest[:index], word, *rest[index:]]
        case ["Swap", a, "and", b]:
            return [{a: b, b: a}.get(w, w) for w in words]
        case ["Add", *new, where, other]:
            index = words.index(other) + (where == "after")
            return [*words[:index], *(w for w in new if w != "and"), *words[index:]]
        case ["Leave", "out", "the", nth, word]:
            at = [index for index, w in enumerate(words) if w == word]
            gone = at[["first", "second", "third"].index(nth)]
            return [w for index, w in enumerate(words) if index != gone]
        case ["Leave" | "Take", "out", word]:
            gone = words.index(word)
            return [w for index, w in enumerate(words) if index != gone]
        case ["From", first, "to", last, "write", *new]:
            begin = words.index(first)
            end = len(words) - 1 - words[::-1].index(last)
            return [*words[:begin], *new, *words[end + 1 :]]
        case ["Write", *new]:
            return new
    return None


@settings(max_examples=400, deadline=None)
@given(tasks, seeds)
def test_advice_says_all_that_a_reader_needs(task, seed):
    text = WORLD.write(task, np.random.default_rng(seed), ErrorRates(0.5, 0.3, 0.3, 0, 0))
    issues = score_list(task, text, ListLayout()).issues
    words = re.findall(r"\w+", text)
    for issue in issues:
        mended = re.findall(r"\w+", apply_fixes(text, [issue]))
        done = carried_out(words, issue.advice)
        moves = issue.advice.startswith(("Put", "Swap"))
        if len(issues) == 1 or (moves and len(set(words)) == len(words)):
            assert done == mended
        elif issue.label in {"lost", "added", "not-removed"}:
            assert Counter(done) == Counter(mended)


@settings(max_examples=400, deadline=None)
@given(drafts(), seeds)
def test_false_advice_reads_like_true_advice_but_spoils_the_answer(draft, seed):
    task, layout, text = draft
    issue = WORLD.false_critique(task, text, np.random.default_rng(seed))
    truth = score_list(task, text, layout)
    if issue is None:
        assert truth.aspects["complete"] == 0
        return
    assert issue.advice not in {true.advice for true in truth.issues}
    assert score_list(task, apply_fixes(text, [issue]), layout).utility < truth.utility


@settings(max_examples=300, deadline=None)
@given(tasks, seeds)
def test_false_advice_can_be_carried_out_too(task, seed):
    rng = np.random.default_rng(seed)
    text = WORLD.write(task, rng, PERFECT)
    issue = WORLD.false_critique(task, text, rng)
    done = carried_out(re.findall(r"\w+", text), issue.advice)
    assert done == re.findall(r"\w+", apply_fixes(text, [issue]))


def test_writers_make_every_fault_and_answer_the_same_request_in_many_ways():
    rng = np.random.default_rng(0)
    labels, utilities, lengths = Counter(), [], []
    for task in drawn(2000, seed=2):
        text = WORLD.write(task, rng, ErrorRates())
        truth = WORLD.score_answer(task, text, ())
        labels.update(issue.label for issue in truth.issues)
        utilities.append(truth.utility)
        lengths.append(len(re.findall(r"\w+|[^\w\s]|\n", text)))
    assert set(labels) == {
        *("order", "muddle", "lost", "added", "repeated", "not-removed", "no-list"),
        *("separators", "letters", "dashes", "layout", "opening", "ending"),
    }  # fmt: skip
    assert min(labels.values()) >= 20
    assert 0.6 < np.mean(utilities) < 0.85
    assert 0.05 < np.mean(np.array(utilities) == 1) < 0.2
    assert max(lengths) <= WORLD.max_tokens
    assert len({WORLD.write(SORT, rng, ErrorRates()) for _ in range(100)}) > 60


def test_the_longest_ideal_answer_fits():
    rules = [rule for rule in WORLD.rules if rule.scope == "all"]
    longest = max(
        len(re.findall(r"\w+|[^\w\s]|\n", layout_for(rule_set).render(task.expected)))
        for task in TASKS
        for rule_set in (rules, [rule for rule in rules if rule.action != "lines"])
    )
    assert longest * 4 / 3 <= WORLD.max_tokens


def test_rules_out_of_scope_spill_into_the_answers_of_the_careless():
    rng = np.random.default_rng(0)
    rule = next(r for r in WORLD.rules if (r.action, r.scope) == ("semicolons", "removing"))

    def followed(task, spills):
        error_rates = ErrorRates(0, 0, 0, 0, spills)
        return np.mean([";" in WORLD.write(task, rng, error_rates, [rule]) for _ in range(400)])

    assert followed(THIN, 0.4) == 1
    assert followed(SORT, 0) == 0
    assert 0.3 < followed(SORT, 0.4) < 0.5


def test_examples_show_which_rules_apply():
    assert WORLD.example(SORT, "apple, fig") == "Sort by the alphabet:\napple, fig"
    assert WORLD.example(THIN, "pear") == "Take out the word fig:\npear"
    assert WORLD.example(PLAN, "wash, dry") == "Order the chores:\nwash, dry"


def test_the_pools_are_free_of_the_words_that_lists_are_written_with():
    assert not {"and", "here", "you", "are", "done"} & {*WORDS, *CHORES}
    assert len(set(WORDS)) == len(WORDS)
    assert not set(WORDS) & set(CHORES)
