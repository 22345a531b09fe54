"""Accuracy of policies on held-out preferences, compared with transformers and by hand."""

import asyncio
import json
import math

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from backtalk.cli import main
from backtalk.decode import Sample
from backtalk.errors import BacktalkError
from backtalk.evaluate.preference_accuracy import PairLogProbs, measure_preferences
from backtalk.feedback import Annotator, Edit, Interaction, Preference
from backtalk.learn import TrainingSet, get_method, held_out_preferences, in_split
from backtalk.models import EndpointSpec, LocalSpec, Sampling
from backtalk.policy import Lineage, Policy, save_policy
from backtalk.run import Run
from backtalk.store import Store
from tests.models import tiny

ADA = Annotator.human("ada")
ANSWERS = ("Yes, we open at nine.", "No.", "At nine. Put it back into its box.", "I do not know")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny.save(tmp_path_factory.mktemp("models") / "llama")


def make_policy(folder, name, **fields):
    decoder = Sample(sampling=Sampling(max_tokens=12))
    return Policy(model=LocalSpec(model=folder), decoder=decoder, name=name, **fields)


@pytest.fixture(scope="module")
def project(tmp_path_factory, folder):
    """Store with preferences, a plain policy, and two that were trained on parts of it."""
    location = tmp_path_factory.mktemp("stores") / "feedback.db"
    rng = np.random.default_rng(0)
    with Store(location) as store:
        for number in range(120):
            a, b = rng.choice(len(ANSWERS), 2, replace=False)
            interaction = Interaction.of(
                f"Is shop {number % 100} open today?", ANSWERS[a], ANSWERS[b]
            )
            verdict = "tie" if number % 15 == 0 else "ab"[int(a > b)]
            store.add(
                interaction,
                Preference(
                    interaction=interaction.id, annotator=ADA, a="0", b="1", verdict=verdict
                ),
            )
            if number % 4 == 1:
                store.add(
                    Edit(interaction=interaction.id, annotator=ADA, response="0", text="Yes, at 9.")
                )
        plain = make_policy(folder, "plain", system="Be brief.")
        save_policy(store, plain)
        for name, split in (("tuned", "train"), ("greedy", "all")):
            with Run(seed=0) as run:
                learned = asyncio.run(
                    get_method("dpo").learn(
                        plain, TrainingSet(store, split=split), run,
                        learning_rate=3e-3, batch_size=16, beta=0.3,
                    )
                )  # fmt: skip
            save_policy(store, learned.model_copy(update={"name": name}))
    return location


def find(store, name):
    from backtalk import api

    return api.find_policy(name, store)


def measure(location, name="tuned", against=None, **options):
    with Store(location) as store, Run(seed=0) as run:
        other = None if against is None else find(store, against)
        return asyncio.run(
            held_out_preferences(find(store, name), store, run=run, against=other, **options)
        )


def held_out_rows(location):
    """Return the preferred and the other answer to each held-out prompt, without ties."""
    rows = []
    with Store(location) as store:
        for case in store.cases():
            if not in_split(case.interaction.prompt, "held-out"):
                continue
            prompt = case.interaction.prompt[0].text
            texts = [response.text for response in case.interaction.responses]
            for item in case.feedback:
                if isinstance(item, Edit):
                    rows.append((prompt, item.text, texts[0]))
                elif item.verdict != "tie":
                    first = item.verdict == "a"
                    rows.append((prompt, *(texts if first else texts[::-1])))
    return rows


def log_probability(network, tokenizer, prompt, answer):
    """Return the sum of the answer's log-probabilities, and its number of tokens."""
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": prompt}]
    start = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    before = tokenizer(start, add_special_tokens=False).input_ids
    after = tokenizer(answer + "<|end|>", add_special_tokens=False).input_ids
    ids = torch.tensor([before + after])
    with torch.no_grad():
        logs = network(ids).logits[0].log_softmax(-1)
    positions = range(len(before) - 1, ids.shape[1] - 1)
    return sum(float(logs[i, ids[0, i + 1]]) for i in positions), len(after)


def networks(location, folder, name):
    with Store(location) as store:
        spec = find(store, name).model
        path = folder if spec.artifact is None else store.artifacts.path(spec.artifact)
        return AutoModelForCausalLM.from_pretrained(path).eval()


def test_the_accuracies_are_those_of_a_plain_forward_pass(project, folder):
    rows = held_out_rows(project)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    scores = {
        name: np.array(
            [
                [log_probability(network, tokenizer, prompt, text) for text in texts]
                for prompt, *texts in rows
            ]
        )
        for name in ("plain", "tuned")
        for network in [networks(project, folder, name)]
    }
    tuned, plain = scores["tuned"], scores["plain"]
    sums = tuned[:, 0, 0] - tuned[:, 1, 0]
    per_token = tuned[..., 0] / tuned[..., 1]
    implicit = 0.3 * (sums - (plain[:, 0, 0] - plain[:, 1, 0]))
    result = measure(project)
    assert (result.pairs, result.prompts) == (len(rows), len({prompt for prompt, *_ in rows}))
    assert result.beta == 0.3
    for name, margin in {
        "log-probability": sums,
        "log-probability per token": per_token[:, 0] - per_token[:, 1],
        "implicit reward": implicit,
    }.items():
        score = result.scores[name]
        assert score.accuracy.value == pytest.approx(np.mean(margin > 0))
        assert score.margin.value == pytest.approx(margin.mean(), abs=1e-4)
        assert score.accuracy.clusters == result.prompts
    longer = tuned[:, 0, 1] - tuned[:, 1, 1]
    groups = result.scores["log-probability"].groups
    assert groups["preferred longer"].value == pytest.approx(np.mean(sums[longer > 0] > 0))
    assert groups["preferred shorter"].value == pytest.approx(np.mean(sums[longer < 0] > 0))
    assert sum(groups[f"kind {kind}"].n for kind in ("preference", "edit")) == len(rows)
    assert result.longer_wins.value == pytest.approx(np.mean((np.sign(longer) + 1) / 2))
    assert result.left_out["ties, or of equal answers"] > 0
    assert result.learned_from == 0
    assert not result.unknown
    assert result.scores["implicit reward"].accuracy.value > 0.8  # it learned something


def test_a_policy_equals_itself_and_its_reference(project):
    result = measure(project, "plain", against="plain")
    assert "implicit reward" not in result.scores
    assert result.scores["log-probability"].difference.value == 0
    with Store(project) as store:
        reference = find(store, "plain")
    same = measure(project, "plain", reference=reference).scores["implicit reward"]
    assert (same.accuracy.value, same.margin, same.ties) == (0.5, None, same.accuracy.n)


def test_the_difference_from_another_policy_is_paired(project):
    result = measure(project, "tuned", against="plain")
    own, other = measure(project, "tuned"), measure(project, "plain")
    for name in ("log-probability", "log-probability per token"):
        difference = result.scores[name].difference
        assert difference.value == pytest.approx(
            own.scores[name].accuracy.value - other.scores[name].accuracy.value
        )
    assert result.scores["implicit reward"].difference is None  # the other has no reference


def test_pairs_that_were_learned_from_are_not_held_out(project):
    with pytest.raises(BacktalkError, match=r"All \d+ held-out pairs are on prompts that greedy"):
        measure(project, "greedy")
    with pytest.raises(BacktalkError, match="or the other policy learned from"):
        measure(project, "plain", against="greedy")
    everything = measure(project, "greedy", split="all")
    assert everything.learned_from == everything.pairs
    on_train = measure(project, "tuned", split="train")
    assert on_train.learned_from == on_train.pairs > measure(project, "tuned").pairs
    assert measure(project, "plain", split="train").learned_from == 0
    with Store(project) as store, Run(seed=0) as run:
        parent = find(store, "greedy")
        child = parent.derive(
            system="Be kind.", lineage=Lineage(method="written", parent=parent.id)
        )
        with pytest.raises(BacktalkError, match="none is held out"):
            asyncio.run(held_out_preferences(child, store, run=run))


def test_a_limit_draws_prompts_and_a_long_answer_is_left_out(project, tmp_path, folder):
    assert measure(project, limit=5).prompts == 5
    held_out = [
        interaction
        for i in range(200)
        if in_split(
            (interaction := Interaction.of(f"Is {i}?", "Yes " * 200 * (i % 2) + "No.", "x")).prompt,
            "held-out",
        )
    ]
    with Store(tmp_path / "long.db") as store, Run(seed=0) as run:
        for interaction in held_out:
            store.add(
                interaction,
                Preference(interaction=interaction.id, annotator=ADA, a="0", b="1", verdict="a"),
            )
        policy = make_policy(folder, "plain")
        save_policy(store, policy)
        result = asyncio.run(held_out_preferences(policy, store, run=run))
    long = sum(len(i.responses[0].text) > 100 for i in held_out)
    assert 0 < result.pairs == len(held_out) - long
    assert result.left_out == {"too long, or changed by the chat template": long}


def test_a_policy_without_log_probabilities_is_refused(project):
    remote = Policy(model=EndpointSpec(model="m"), name="remote")
    with (
        Store(project) as store,
        Run(seed=0) as run,
        pytest.raises(BacktalkError, match="remote has no log-probabilities"),
    ):
        asyncio.run(held_out_preferences(remote, store, run=run))


def make_log_probs(rng, n):
    return PairLogProbs(
        rng.normal(size=n).round(1),
        rng.normal(size=n).round(1),
        rng.integers(1, 5, n),
        rng.integers(1, 5, n),
    )


def swap(pairs):
    return PairLogProbs(pairs.rejected, pairs.chosen, pairs.rejected_tokens, pairs.chosen_tokens)


@pytest.mark.parametrize("seed", range(5))
def test_ties_count_one_half_and_a_swap_gives_the_complement(seed):
    rng = np.random.default_rng(seed)
    n = 300
    policy, reference = make_log_probs(rng, n), make_log_probs(rng, n)
    prompts = [str(i // 3) for i in range(n)]
    result = measure_preferences(policy, prompts, reference=reference, beta=0.5)
    swapped = measure_preferences(swap(policy), prompts, reference=swap(reference), beta=0.5)
    assert result.scores["log-probability"].ties > 0
    for name, score in result.scores.items():
        other = swapped.scores[name]
        assert score.accuracy.value + other.accuracy.value == pytest.approx(1)
        assert score.margin.value == pytest.approx(-other.margin.value)
        assert score.ties == other.ties
    value = np.mean(
        [
            0.5 if math.isclose(c, r) else float(c > r)
            for c, r in zip(policy.chosen, policy.rejected, strict=True)
        ]
    )
    assert result.scores["log-probability"].accuracy.value == pytest.approx(value)


def test_repeated_pairs_of_a_prompt_add_no_certainty():
    rng = np.random.default_rng(0)
    once = make_log_probs(rng, 40)
    rows = np.repeat(np.arange(40), 10)
    many = PairLogProbs(
        once.chosen[rows], once.rejected[rows], once.chosen_tokens[rows], once.rejected_tokens[rows]
    )
    wide = measure_preferences(many, [str(row) for row in rows]).scores["log-probability"].accuracy
    narrow = measure_preferences(many, [str(i) for i in range(400)]).scores["log-probability"]
    assert wide.width > 2 * narrow.accuracy.width
    alone = measure_preferences(many, ["one"] * 400).scores["log-probability"].accuracy
    assert alone.clusters is None


def run(capsys, *arguments):
    code = main(list(arguments))
    output = capsys.readouterr()
    return code, output.out, output.err


def test_the_command_prints_the_accuracy_and_json(project, capsys):
    store = ("--store", str(project))
    code, out, err = run(capsys, "evaluate", "tuned", "--preferences", "--against", "plain", *store)
    assert code == 0
    for words in ("implicit reward", "log-probability per token", "less that of plain", "longer"):
        assert words in out
    assert "0.3 * (log pi - log ref)" in err
    code, out, _ = run(capsys, "evaluate", "tuned", "--preferences", "--json", *store)
    result = json.loads(out)
    expected = measure(project)
    assert result == json.loads(json.dumps(expected.to_dict()))
    assert result["scores"]["implicit reward"]["accuracy"]["clusters"] == expected.prompts
    code, _, err = run(capsys, "evaluate", "greedy", "--preferences", *store)
    assert code != 0
    assert "learned from" in err
    for options in (["--judge", "recorded"], ["--fresh"], ["--no-wait"], ["--max-calls", "0"]):
        code, _, err = run(capsys, "evaluate", "tuned", "--preferences", *options, *store)
        assert code != 0
        assert options[0] in err
    code, _, err = run(capsys, "evaluate", "tuned", "--beta", "0.2", *store)
    assert code != 0
    assert "--preferences" in err
