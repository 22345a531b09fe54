"""All worlds: common checks, true utility as a reward, generators as models, registration."""

import re
import sys

import numpy as np
import pytest

from backtalk.errors import BacktalkError, RecordError, UnknownName
from backtalk.feedback import Message
from backtalk.models import Request, Sampling
from backtalk.models.run_sync import run_sync
from backtalk.rewards import Reward
from backtalk.testing import models as model_laws
from backtalk.testing.worlds import check_world
from backtalk.worlds import ErrorRates, get_world, world_names
from backtalk.worlds.generator_model import GeneratorModel
from backtalk.worlds.registry import WORLDS
from backtalk.worlds.train.curriculum import GUIDANCE
from backtalk.worlds.utility import TrueUtility
from tests.conftest import REPOSITORY
from tests.installed_package import installed_package

every_world = pytest.mark.parametrize("world", world_names())
NO_ERRORS = dict.fromkeys(vars(ErrorRates()), 0.0)

SLOW = {"programs"}
"""Worlds in which scoring an answer takes milliseconds."""


@every_world
def test_every_world_satisfies_the_laws(world):
    check_world(get_world(world), count=8 if world in SLOW else 200)


def test_worlds_are_found_by_their_names():
    assert {"mail", "sums", "lists"} <= set(world_names())
    for name in world_names():
        assert get_world(name).name == name
        assert get_world(name) is get_world(name)
    with pytest.raises(UnknownName, match=r"no world 'mial'.*Did you mean 'mail'"):
        get_world("mial")


def documented_world():
    """Return the code of docs/sandbox.md that defines the world ``hard-sums``."""
    page = (REPOSITORY / "docs" / "sandbox.md").read_text(encoding="utf-8")
    (code,) = [
        block
        for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL)
        if "hard-sums" in block
    ]
    return code


def test_a_world_of_an_installed_package_is_available_by_name(tmp_path):
    targets = {"backtalk.worlds": {"hard-sums": "our_worlds:HardSumsWorld"}}
    try:
        with installed_package(tmp_path, "our_worlds", documented_world(), targets):
            assert "hard-sums" in world_names()
            assert "our_worlds" not in sys.modules
            hard = get_world("hard-sums")
            assert hard is get_world("hard-sums")
            (task,) = hard.tasks("out-of-scope", 1)
            answer = ((Message.user(task.text),), hard.ideal(task))
            assert scores(TrueUtility("hard-sums"), [answer]) == pytest.approx(1)
    finally:
        WORLDS.unregister("hard-sums")
    with pytest.raises(UnknownName, match="no world 'hard-sums'"):
        get_world("hard-sums")


def test_an_installed_package_must_provide_a_world_class(tmp_path):
    targets = {"backtalk.worlds": {"flat": "flat_worlds:FLAT"}}
    with (
        installed_package(tmp_path, "flat_worlds", "FLAT = 3", targets),
        pytest.raises(BacktalkError, match=r"world 'flat' of flat_worlds is not one"),
    ):
        get_world("flat")


def answers(world, count=30, seed=0):
    home = get_world(world)
    rng = np.random.default_rng(seed)
    return [
        ((Message.user(task.text),), home.write(task, rng, ErrorRates()))
        for task in home.tasks("train", count, seed=seed)
    ]


def scores(reward, examples):
    return run_sync(reward.score(examples)).mean


@every_world
def test_true_utility_is_the_weighted_mean_of_the_aspects(world):
    home, examples = get_world(world), answers(world)
    reward = TrueUtility(world)
    assert isinstance(reward, Reward)
    assert reward.bounds == (0, 1)
    assert reward.name == "true utility"
    whole = scores(reward, examples)
    assert np.ptp(whole) > 0.2
    alone = {name: scores(TrueUtility(world, name), examples) for name in home.weights}
    for name, values in alone.items():
        assert ((values >= 0) & (values <= 1)).all()
        assert TrueUtility(world, name).name == name
    weighted = sum(weight * alone[name] for name, weight in home.weights.items())
    assert whole == pytest.approx(weighted)
    ideal = [(prompt, home.ideal(home.parse_prompt(prompt))) for prompt, _ in examples]
    assert scores(reward, ideal) == pytest.approx(1)
    assert scores(reward, []).shape == (0,)


@pytest.mark.parametrize(
    ("named", "world", "aspect"),
    [
        ("mail", "mail", None),
        ("sums", "sums", None),
        ("lists", "lists", None),
        ("safe", "mail", "safe"),
        ("mail/safe", "mail", "safe"),
        ("sums/correct", "sums", "correct"),
        ("lists/right", "lists", "right"),
    ],
)
def test_the_command_line_names_a_world_or_an_aspect(named, world, aspect):
    examples = answers(world)
    expected = scores(TrueUtility(world, aspect), examples)
    assert scores(TrueUtility.from_spec(named), examples) == pytest.approx(expected)


def test_the_mail_world_is_named_by_default():
    examples = answers("mail")
    assert scores(TrueUtility.from_spec(), examples) == pytest.approx(
        scores(TrueUtility(), examples)
    )


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ("saef", "no aspect of mail 'saef'.*Did you mean 'safe'"),
        ("correct", "no aspect of mail 'correct'"),
        ("sums/safe", "no aspect of sums 'safe'"),
        ("sums/", "no aspect of sums ''"),
        ("sumz/correct", "no world 'sumz'"),
    ],
)
def test_unknown_utilities_are_refused(named, message):
    with pytest.raises(UnknownName, match=message):
        TrueUtility.from_spec(named)


def test_true_utility_refuses_unknown_rules_and_foreign_prompts():
    with pytest.raises(UnknownName, match=r"no rule 'Sing\.'"):
        TrueUtility("mail", rules=["Sing."])
    with pytest.raises(RecordError, match="What is the time"):
        scores(TrueUtility(), [((Message.user("What is the time?"),), "Noon.")])


@every_world
def test_rules_of_true_utility_are_in_force_in_their_scope(world):
    home = get_world(world)
    drawn = home.tasks("train", 30)
    tried = set()
    for rule in home.rules:
        reward = TrueUtility(world, rules=[rule.text])
        for task in drawn[:15]:
            inside = home.applies(rule, task)
            default, ruled = home.ideal(task), home.ideal(task, [rule])
            prompt = (Message.user(task.text),)
            of_usual, of_ruled = scores(reward, [(prompt, default), (prompt, ruled)])
            if inside:
                assert of_ruled == pytest.approx(1)
                assert default == ruled or of_usual < 1 - 1e-9
            else:
                assert of_usual == pytest.approx(1)
            tried.add((inside, bool(of_usual < 1 - 1e-9), bool(of_ruled < 1 - 1e-9)))
    assert {(True, True, False), (False, False, True)} <= tried


def requests(world, count=12, instruction="", **fields):
    system = (Message.system(instruction),) if instruction else ()
    sampling = fields.pop("sampling", Sampling())
    return [
        Request(messages=(*system, Message.user(task.text)), sampling=sampling, **fields)
        for task in get_world(world).tasks("train", count)
    ]


@every_world
def test_writers_keep_the_laws_of_models(world):
    short = Sampling(max_tokens=4)
    mixed = [
        *requests(world, 6),
        *requests(world, 3, sample_index=2, seed=5),
        *requests(world, 3, "Leave nothing out.", sampling=short),
    ]
    model_laws.check_model(lambda: GeneratorModel(world), mixed)
    model_laws.check_independent_samples(lambda: GeneratorModel(world), mixed[0])
    careless = GeneratorModel(world, wrong_facts=0.9)
    assert careless.identity != GeneratorModel(world).identity
    assert GeneratorModel(world).name == f"{world}-writer"


@every_world
def test_a_writer_is_cut_at_its_limit_and_says_so(world):
    whole = run_sync(GeneratorModel(world).generate(requests(world)))
    cut = run_sync(GeneratorModel(world).generate(requests(world, sampling=Sampling(max_tokens=3))))
    for one, other in zip(whole, cut, strict=True):
        words = one.text.split(" ")
        assert other.text == " ".join(words[:3])
        assert one.finish_reason == "stop"
        assert other.finish_reason == ("length" if len(words) > 3 else "stop")
        assert other.usage.completion_tokens == min(3, len(words))
    assert "length" in {completion.finish_reason for completion in cut}


def utilities(world, model, batch):
    completions = run_sync(model.generate(batch))
    return np.array(
        [
            get_world(world).score(request.messages, completion.text).utility
            for request, completion in zip(batch, completions, strict=True)
        ]
    )


@every_world
def test_writers_heed_guidance(world):
    count = 50 if world in SLOW else 250
    plain = utilities(world, GeneratorModel(world), requests(world, count))
    guidance = " ".join(GUIDANCE.values())
    minding = utilities(world, GeneratorModel(world), requests(world, count, guidance))
    error = np.hypot(plain.std(), minding.std()) / np.sqrt(count)
    assert minding.mean() - plain.mean() > 3 * error
    perfect = utilities(world, GeneratorModel(world, **NO_ERRORS), requests(world, 50))
    assert perfect == pytest.approx(1)


def test_each_word_of_guidance_mends_its_own_sort_of_fault():
    home = get_world("mail")

    def faulty(instruction):
        """Return how often an answer has a fault of each sort."""
        batch = requests("mail", 500, instruction)
        completions = run_sync(GeneratorModel("mail").generate(batch))
        results = [
            [
                issue.label
                for issue in home.score_answer(home.parse_prompt(r.messages), c.text, ()).issues
            ]
            for r, c in zip(batch, completions, strict=True)
        ]
        return {
            "wrong_facts": np.mean([any(x.startswith("wrong-") for x in one) for one in results]),
            "omissions": np.mean(
                [bool({"no-message", "no-question"} & set(one)) for one in results]
            ),
            "irrelevant": np.mean([bool({"needless", "unsafe"} & set(one)) for one in results]),
            "style": np.mean([bool({"greeting", "emoji"} & set(one)) for one in results]),
        }

    plain = faulty("")
    for sort, words in GUIDANCE.items():
        minded = faulty(words)
        assert minded[sort] < 0.5 * plain[sort]
        for other in set(GUIDANCE) - {sort}:
            assert abs(minded[other] - plain[other]) < 0.12


@every_world
def test_writers_follow_the_rules_that_they_are_told(world):
    home = get_world(world)
    model = GeneratorModel(world, **NO_ERRORS)
    seen = 0
    for rule in home.rules:
        batch = requests(world, 12, rule.text)
        assert utilities(world, model, batch) == pytest.approx(1)
        for request, completion in zip(batch, run_sync(model.generate(batch)), strict=True):
            task = home.parse_prompt(request.messages)
            default = home.score_answer(task, completion.text, ()).utility
            if not home.applies(rule, task):
                assert default == pytest.approx(1)
            seen += default < 1 - 1e-9
    assert seen > 20


def test_a_writer_refuses_unknown_worlds_care_and_prompts():
    with pytest.raises(UnknownName, match="no world 'post'"):
        GeneratorModel("post")
    with pytest.raises(TypeError, match="haste"):
        GeneratorModel("mail", haste=1)
    foreign = Request(messages=(Message.user("What is the time?"),))
    with pytest.raises(RecordError, match="What is the time"):
        run_sync(GeneratorModel("mail").generate([foreign]))
    with pytest.raises(RecordError, match="What is the time"):
        GeneratorModel("mail").bound(foreign)


def test_error_rates_are_accepted_under_their_old_names():
    old = {"slips": 0.1, "gaps": 0.2, "extras": 0.3, "manner": 0.4, "spills": 0.5}
    assert ErrorRates.from_options(**old) == ErrorRates(0.1, 0.2, 0.3, 0.4, 0.5)
    assert GeneratorModel("mail", slips=0.9).identity == (
        GeneratorModel("mail", wrong_facts=0.9).identity
    )
