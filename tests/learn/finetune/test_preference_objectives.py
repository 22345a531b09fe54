"""Each objective over pairs against its formula, TRL, finite differences and its optimum."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch", reason="objectives are functions of tensors")

from backtalk.errors import BacktalkError  # noqa: E402
from backtalk.learn.finetune.objective import (  # noqa: E402
    OBJECTIVES,
    Batch,
    BoundObjective,
    LossOutput,
    get_objective,
)
from backtalk.learn.finetune.trees import PairLabel, PromptTree, ResponseTokens  # noqa: E402
from backtalk.testing.objectives import (  # noqa: E402
    check_objective,
    columns,
    make_batch,
    random_logprobs,
    random_trees,
)

Array = NDArray[np.float64]


def sigmoid(x: float) -> float:
    return float(1 / (1 + np.exp(-x)))


class Case:
    """Trees with their log-probabilities, read response by response with NumPy."""

    def __init__(
        self, trees: list[PromptTree], policy: Array, reference: Array, rivals: Array
    ) -> None:
        self.trees, self.now = trees, policy
        self.places: list[list[slice]] = []
        start = 0
        for tree in trees:
            self.places.append([])
            for branch in tree.responses:
                self.places[-1].append(slice(start, start + len(branch.tokens)))
                start += len(branch.tokens)
        self.reference, self.rivals = reference, rivals
        self.frozen_policy, self.frozen_rivals = policy.copy(), rivals.copy()

    def tokens(self, t: int, b: int) -> Array:
        return self.now[self.places[t][b]]

    def weights(self, t: int, b: int) -> Array:
        branch = self.trees[t].responses[b]
        return np.array(branch.weights or (1.0,) * len(branch.tokens))

    def token_rewards(self, t: int, b: int) -> Array:
        branch = self.trees[t].responses[b]
        return np.array(branch.token_rewards or (0.0,) * len(branch.tokens))

    def pi(self, t: int, b: int) -> float:
        return float(self.weights(t, b) @ self.tokens(t, b))

    def ref(self, t: int, b: int) -> float:
        return float(self.weights(t, b) @ self.reference[self.places[t][b]])

    def frozen(self, t: int, b: int) -> float:
        return float(self.weights(t, b) @ self.frozen_policy[self.places[t][b]])

    def mean(self, t: int, b: int) -> float:
        return self.pi(t, b) / float(self.weights(t, b).sum())

    def ratio(self, t: int, b: int) -> float:
        return self.pi(t, b) - self.ref(t, b)

    def marked(self, t: int) -> list[int]:
        return [b for b, branch in enumerate(self.trees[t].responses) if branch.is_sample]


Formula = Callable[[Case, int, PairLabel], float]


def h(case: Case, t: int, pair: PairLabel) -> float:
    return case.ratio(t, pair.chosen) - case.ratio(t, pair.rejected)


def on_margin(loss: Callable[[float, Mapping[str, float]], float], beta: float) -> Formula:
    return lambda case, t, pair: loss(beta * h(case, t, pair), pair.features)


def soft(m: float, p: float) -> float:
    return -p * math.log(sigmoid(m)) - (1 - p) * math.log(sigmoid(-m))


def reverse_kl(m: float, smoothing: float) -> float:
    q = np.array([sigmoid(m), sigmoid(-m)])
    return float(q @ np.log(q / np.array([1 - smoothing, smoothing])))


def slic_hf(case: Case, t: int, pair: PairLabel) -> float:
    target = np.mean([case.pi(t, b) for b in case.marked(t)])
    apart = case.pi(t, pair.chosen) - case.pi(t, pair.rejected)
    return float(max(0, 2.0 - apart) - 0.3 * target)


def orpo(case: Case, t: int, pair: PairLabel) -> float:
    won, lost = (math.exp(case.mean(t, b)) for b in (pair.chosen, pair.rejected))
    odds_ratio = (won / (1 - won)) / (lost / (1 - lost))
    return -math.log(won) - 0.2 * math.log(sigmoid(math.log(odds_ratio)))


def cpo(case: Case, t: int, pair: PairLabel) -> float:
    won, lost = case.pi(t, pair.chosen), case.pi(t, pair.rejected)
    return -math.log(sigmoid(0.2 * won - 0.2 * lost)) - 0.5 * won


def cpl(case: Case, t: int, pair: PairLabel) -> float:
    def score(b: int) -> float:
        total, step = 0.0, 0
        for weight, value in zip(case.weights(t, b), case.tokens(t, b), strict=True):
            if weight > 0:
                total += weight * 0.9**step * 0.3 * value
                step += 1
        return total

    won, lost = math.exp(score(pair.chosen)), math.exp(0.5 * score(pair.rejected))
    return -math.log(won / (won + lost))


def cringe(case: Case, t: int, pair: PairLabel) -> float:
    apart = case.pi(t, pair.chosen) - case.pi(t, pair.rejected)
    place = case.places[t][pair.rejected]
    contrast = 0.0
    for weight, own, others, before in zip(
        case.weights(t, pair.rejected),
        case.now[place],
        case.rivals[place],
        case.frozen_rivals[place],
        strict=True,
    ):
        probability = np.exp(before) / np.exp(before).sum()
        drawn = -np.log(np.exp(others) / (np.exp(others) + np.exp(own)))
        contrast += weight * float(probability @ drawn)
    return sigmoid((0.5 - apart) / 2.0) * (-case.pi(t, pair.chosen) + 0.7 * contrast)


def desiderata(case: Case, t: int, pair: PairLabel) -> float:
    won, lost = math.exp(case.pi(t, pair.chosen)), math.exp(case.pi(t, pair.rejected))
    divergence = -(case.ratio(t, pair.chosen) + case.ratio(t, pair.rejected)) / 2
    return -math.log(won / (won + lost)) + 0.3 * divergence


def t_reg(case: Case, t: int, pair: PairLabel) -> float:
    def reg(b: int) -> float:
        return -float(
            (case.weights(t, b) * 0.2 * case.token_rewards(t, b))
            @ (case.tokens(t, b) - case.reference[case.places[t][b]])
        )

    before = 0.2 * sum(
        sign * (case.frozen(t, b) - case.ref(t, b))
        for sign, b in ((1, pair.chosen), (-1, pair.rejected))
    )
    return -math.log(sigmoid(0.2 * h(case, t, pair))) + 0.5 * sigmoid(-before) * (
        reg(pair.chosen) + reg(pair.rejected)
    )


def inpo(case: Case, t: int, pair: PairLabel) -> float:
    eta, tau = 0.2, 0.05
    now = case.ref(t, pair.chosen) - case.ref(t, pair.rejected)
    base = pair.features.get("base_margin", now)
    own = case.pi(t, pair.chosen) - case.pi(t, pair.rejected)
    return (own - tau / eta * base - (eta - tau) / eta * now - 1 / (2 * eta)) ** 2


def spac(case: Case, t: int, pair: PairLabel) -> float:
    own = np.mean([0.2 * case.ratio(t, b) for b in case.marked(t)])
    return float(
        own - 0.2 * case.ratio(t, pair.chosen) - 1.5 * math.log(sigmoid(0.2 * h(case, t, pair)))
    )


def xpo(case: Case, t: int, pair: PairLabel) -> float:
    bonus = np.mean([case.pi(t, b) for b in case.marked(t)])
    constant = np.mean([case.ref(t, b) for b in case.marked(t)])
    return float(-math.log(sigmoid(0.2 * h(case, t, pair))) + 0.1 * (bonus - constant))


FORMULAS: dict[str, tuple[dict[str, Any], Formula]] = {
    "dpo": ({"beta": 0.2}, on_margin(lambda m, _: -math.log(sigmoid(m)), 0.2)),
    "step-dpo": ({"beta": 0.2}, on_margin(lambda m, _: -math.log(sigmoid(m)), 0.2)),
    "ipo": ({"beta": 0.2}, on_margin(lambda m, _: (m - 1 / 0.4) ** 2, 1.0)),
    "hinge": ({"beta": 0.2}, on_margin(lambda m, _: max(0, 1 - m), 0.2)),
    "cdpo": ({"beta": 0.2, "label_smoothing": 0.3}, on_margin(lambda m, _: soft(m, 0.7), 0.2)),
    "rdpo": (
        {"beta": 0.2, "flip_rate": 0.3},
        on_margin(
            lambda m, _: (
                (-0.7 * math.log(sigmoid(m)) + 0.3 * math.log(sigmoid(-m))) / (1 - 2 * 0.3)
            ),
            0.2,
        ),
    ),
    "osp": ({"beta": 0.2}, on_margin(lambda m, f: soft(m, f.get("probability", 1.0)), 0.2)),
    "exo": (
        {"beta": 0.2, "label_smoothing": 0.01},
        on_margin(lambda m, _: reverse_kl(m, 0.01), 0.2),
    ),
    "dpo-desiderata": ({"regulariser": 0.3}, desiderata),
    "slic-hf": ({"delta": 2.0, "regulariser": 0.3}, slic_hf),
    "orpo": ({"ratio": 0.2}, orpo),
    "i-orpo": ({"ratio": 0.2}, orpo),
    "simpo": (
        {"beta": 2.0, "gamma": 0.7},
        lambda case, t, pair: (
            -math.log(
                sigmoid(2 * case.mean(t, pair.chosen) - 2 * case.mean(t, pair.rejected) - 0.7)
            )
        ),
    ),
    "cpo": ({"beta": 0.2, "nll": 0.5}, cpo),
    "cpl": ({"alpha": 0.3, "discount": 0.9, "bias": 0.5}, cpl),
    "pairwise-cringe": ({"alpha": 0.7, "margin": 0.5, "temperature": 2.0}, cringe),
    "t-reg": ({"beta": 0.2, "alpha": 0.5}, t_reg),
    "rise": (
        {"beta": 0.2, "nll": 0.3},
        lambda case, t, pair: (
            -math.log(sigmoid(0.2 * h(case, t, pair))) - 0.3 * case.mean(t, pair.chosen)
        ),
    ),
    "inpo": ({"eta": 0.2, "tau": 0.05}, inpo),
    "dno": ({"eta": 0.2}, on_margin(lambda m, f: soft(m, f.get("probability", 1.0)), 0.2)),
    "spac": ({"beta": 0.2, "fit": 1.5}, spac),
    "xpo": ({"beta": 0.2, "alpha": 0.1}, xpo),
}
ALL = [*FORMULAS, "sppo"]


def bound(name: str, **options: Any) -> BoundObjective:
    defaults = FORMULAS[name][0] if name in FORMULAS else {"beta": 0.5}
    return get_objective(name).bind(**{**defaults, **options})


def example(name: str, seed: int = 0) -> tuple[BoundObjective, Batch, Case]:
    objective = bound(name)
    trees = random_trees(seed)
    rng = np.random.default_rng([seed, 2])
    pairs = [
        PairLabel(p.chosen, p.rejected, p.weight, {**p.features, "base_margin": rng.normal()})
        for p in trees[0].pairs
    ]
    trees[0] = PromptTree(
        trees[0].prompt, trees[0].responses, trees[0].weight, trees[0].features, tuple(pairs)
    )
    log_probs = random_logprobs(trees, 5, seed)
    batch = make_batch(objective, trees, log_probs)
    case = Case(
        trees,
        batch.policy.numpy().copy(),
        torch.cat([item.reference for item in log_probs]).numpy().copy(),
        torch.cat([item.top_k for item in log_probs]).numpy().copy(),
    )
    return objective, batch, case


def by_formula(name: str, case: Case) -> Array:
    if name == "sppo":
        return np.array(
            [
                (case.ratio(t, b) - (branch.win_rate - 0.5) / 0.5) ** 2
                for t, tree in enumerate(case.trees)
                for b, branch in enumerate(tree.responses)
            ]
        )
    formula = FORMULAS[name][1]
    return np.array(
        [formula(case, t, pair) for t, tree in enumerate(case.trees) for pair in tree.pairs]
    )


def test_every_objective_over_pairs_is_here() -> None:
    families = ("preference", "reference_free", "self_play", "token_credit")
    here = {
        name
        for name, registered in ((name, OBJECTIVES.get(name)) for name in OBJECTIVES)
        if registered.function.__module__.rsplit(".", 1)[1] in families
    }
    assert here == set(ALL)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("seed", range(3))
def test_equals_the_formula_of_the_paper(name: str, seed: int) -> None:
    objective, batch, case = example(name, seed)
    np.testing.assert_allclose(
        objective(batch).losses.numpy(), by_formula(name, case), rtol=1e-10, atol=1e-10
    )


@pytest.mark.parametrize("name", ALL)
def test_gradient_equals_finite_differences_of_the_formula(name: str) -> None:
    objective, batch, case = example(name)
    learned = [(batch.policy.requires_grad_(), case.now)]
    if batch.top_k is not None:
        learned.append((batch.top_k.requires_grad_(), case.rivals))
    objective(batch).losses.sum().backward()
    step = 1e-6
    for values, plain in learned:
        assert values.grad is not None
        result = np.zeros_like(plain)
        for place in np.ndindex(plain.shape):
            default = plain[place]
            sides = []
            for sign in (1, -1):
                plain[place] = default + sign * step
                sides.append(by_formula(name, case).sum())
            plain[place] = default
            result[place] = (sides[0] - sides[1]) / (2 * step)
        np.testing.assert_allclose(values.grad.numpy(), result, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    "name", [name for name in ALL if OBJECTIVES.get(name).initial_loss is not None]
)
@pytest.mark.parametrize("default", [True, False])
def test_loss_at_policy_equal_reference_is_known(name: str, default: bool) -> None:
    objective = get_objective(name).bind() if default else bound(name)
    trees = random_trees()
    log_probs = random_logprobs(trees, 5)
    batch = Batch.from_trees(
        trees,
        torch.cat([item.policy for item in log_probs]),
        torch.cat([item.policy for item in log_probs]),
    )
    losses = objective(batch).losses
    torch.testing.assert_close(losses, torch.full_like(losses, objective.initial_loss or math.nan))


def test_first_round_of_inpo_starts_where_ipo_does() -> None:
    trees = random_trees()
    policy = torch.cat([one.policy for one in random_logprobs(trees, 1)])
    losses = bound("inpo")(Batch.from_trees(trees, policy, policy)).losses
    torch.testing.assert_close(losses, torch.full_like(losses, 1 / (2 * 0.2) ** 2))


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("masses", [(0.4, 0.3), (0.1, 0.7), (0.05, 0.05)])
def test_a_step_prefers_the_chosen_arm(name: str, masses: tuple[float, float]) -> None:
    """Six arms, of which the first is chosen over the second; the last is the model's own."""
    rest = (1 - sum(masses)) / 4
    start = torch.tensor([*masses, rest, rest, rest, rest], dtype=torch.float64).log()
    logits = start.clone().requires_grad_()
    values = (1.0, 0.0) if name == "sppo" else (0.0, 0.0, 1.0)
    arms = (0, 1) if name == "sppo" else (0, 1, 5)
    tree = PromptTree(
        (9,),
        tuple(
            ResponseTokens((arm,), token_rewards=(0.5 - arm if arm < 2 else 0.0,), **columns(value))
            for arm, value in zip(arms, values, strict=True)
        ),
        pairs=(PairLabel(0, 1),),
    )
    policy = logits.log_softmax(0)
    others = torch.stack([torch.cat([policy[:arm], policy[arm + 1 :]]) for arm in arms])
    batch = Batch.from_trees([tree], policy[list(arms)], start[list(arms)], top_k=others)
    bound(name)(batch).losses.sum().backward()
    assert logits.grad is not None
    after = start - 0.01 * logits.grad
    assert after[0] - after[1] > start[0] - start[1]


@pytest.mark.parametrize("name", ALL)
def test_laws(name: str) -> None:
    check_objective(bound(name))
    check_objective(get_objective(name).bind(), seed=1)


def test_laws_refuse_an_objective_that_reads_masked_tokens() -> None:
    plain = bound("dpo")

    def unmasked(batch: Batch, **options: Any) -> LossOutput:
        return plain(replace(batch, token_weight=torch.ones_like(batch.token_weight)))

    def centred(batch: Batch, **options: Any) -> LossOutput:
        losses = plain(batch).losses
        return LossOutput(losses - losses.mean().detach())

    for wrong in (unmasked, centred):
        registered = replace(plain.objective, function=wrong)
        with pytest.raises(AssertionError):
            check_objective(BoundObjective(registered, plain.options))


def one_tree(*values: float) -> PromptTree:
    branches = tuple(ResponseTokens((arm, 0), **columns(value)) for arm, value in enumerate(values))
    return PromptTree((9,), branches, pairs=(PairLabel(0, 1),))


@pytest.mark.parametrize("name", ["spac", "xpo"])
def test_a_tree_without_the_sample_that_is_wanted_is_refused(name: str) -> None:
    values = torch.linspace(-1, -0.1, 4)
    with pytest.raises(BacktalkError, match="no sample of"):
        bound(name)(Batch.from_trees([one_tree(0, 0)], values, values))


def test_inpo_refuses_a_tau_above_eta() -> None:
    with pytest.raises(BacktalkError, match="at most eta"):
        get_objective("inpo").bind(eta=0.1, tau=0.2)(
            Batch.from_trees([one_tree(0, 0)], torch.zeros(4), torch.zeros(4))
        )


def test_slic_hf_imitates_the_chosen_one_where_no_response_is_marked() -> None:
    values = torch.tensor([-1.0, -2.0, -0.5, -0.25])
    losses = (
        get_objective("slic-hf")
        .bind(delta=1.0, regulariser=0.5)(Batch.from_trees([one_tree(0, 0)], values))
        .losses
    )
    torch.testing.assert_close(losses, torch.tensor([1 - (-3.0 + 0.75) + 0.5 * 3.0]))


def test_step_dpo_of_whole_responses_equals_that_of_the_step_alone() -> None:
    """Shared steps cancel, and what follows the wrong step is masked."""
    shared, own, after = (3, 4), ((5, 6), (7,)), (8, 9)
    policy = {token: -0.1 * token for token in range(10)}
    whole = PromptTree(
        (1,),
        tuple(
            ResponseTokens(shared + step + after, weights=(1.0,) * len(shared + step) + (0.0,) * 2)
            for step in own
        ),
        pairs=(PairLabel(0, 1),),
    )
    step = PromptTree((1, *shared), tuple(map(ResponseTokens, own)), pairs=(PairLabel(0, 1),))
    losses = []
    for tree in (whole, step):
        log_probs = torch.tensor([policy[token] for b in tree.responses for token in b.tokens])
        losses.append(bound("step-dpo")(Batch.from_trees([tree], log_probs, log_probs**2)).losses)
    torch.testing.assert_close(*losses)


def test_i_orpo_compares_one_response_under_two_instructions() -> None:
    """Masked instruction tokens in the branches stand for two prompts."""
    right, wrong = [-0.3, -0.9], [-1.2, -0.7]
    tree = PromptTree(
        (1,),
        (
            ResponseTokens((2, 3, 7, 8), weights=(0, 0, 1, 1)),
            ResponseTokens((4, 7, 8), weights=(0, 1, 1)),
        ),
        pairs=(PairLabel(0, 1),),
    )
    log_probs = torch.tensor([-9.0, -8.0, *right, -7.0, *wrong], dtype=torch.float64)
    p, q = math.exp(np.mean(right)), math.exp(np.mean(wrong))
    by_hand = -math.log(p) - 0.2 * math.log(sigmoid(math.log(p / (1 - p) / (q / (1 - q)))))
    assert bound("i-orpo")(Batch.from_trees([tree], log_probs)).losses.item() == pytest.approx(
        by_hand
    )


ARMS = 3


def arms_batch(
    logits: torch.Tensor, reference: torch.Tensor, preference: torch.Tensor, drawn: torch.Tensor
) -> Batch:
    """Return every pair of arms, weighted by how often it is drawn and so labelled."""
    pairs = tuple(
        PairLabel(a, b, float(drawn[a] * drawn[b] * preference[a, b]))
        for a in range(ARMS)
        for b in range(ARMS)
    )
    tree = PromptTree((9,), tuple(ResponseTokens((arm,)) for arm in range(ARMS)), pairs=pairs)
    return Batch.from_trees([tree], logits.log_softmax(0), reference)


def optimum(
    objective: BoundObjective,
    reference: torch.Tensor,
    preference: torch.Tensor,
    drawn: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return the tabular softmax policy of the least loss, from the reference, by L-BFGS."""
    drawn = torch.full_like(reference, 1 / ARMS) if drawn is None else drawn
    logits = reference.clone().requires_grad_()
    optimiser = torch.optim.LBFGS(
        [logits], max_iter=500, tolerance_grad=1e-12, line_search_fn="strong_wolfe"
    )

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        batch = arms_batch(logits, reference, preference, drawn)
        total = (objective(batch).losses * batch.pair_weight).sum()
        total.backward()
        return total

    optimiser.step(loss)
    return logits.detach().softmax(0)


REFERENCE = torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64).log()
REWARD = torch.tensor([1.0, -0.5, 0.3], dtype=torch.float64)
BRADLEY_TERRY = torch.sigmoid(REWARD[:, None] - REWARD[None, :])


@pytest.mark.parametrize("name", ["dpo", "osp", "dno"])
def test_logistic_losses_reach_the_closed_form_optimum(name: str) -> None:
    """``pi* proportional to pi_ref exp(r / beta)``; Rafailov et al. (2023), equation 4."""
    beta = {"eta": 0.7} if name == "dno" else {"beta": 0.7}
    result = optimum(get_objective(name).bind(**beta), REFERENCE, BRADLEY_TERRY)
    torch.testing.assert_close(result, (REFERENCE + REWARD / 0.7).softmax(0), atol=1e-5, rtol=0)


def test_ipo_reaches_the_closed_form_optimum() -> None:
    """``pi* proportional to pi_ref exp(p(y > mu) / tau)``, also where preferences are cyclic;
    Azar et al. (2023)."""
    cyclic = torch.tensor([[0.5, 0.8, 0.3], [0.2, 0.5, 0.9], [0.7, 0.1, 0.5]], dtype=torch.float64)
    for preference in (BRADLEY_TERRY, cyclic):
        result = optimum(get_objective("ipo").bind(beta=0.4), REFERENCE, preference)
        expected = (REFERENCE + preference.mean(1) / 0.4).softmax(0)
        torch.testing.assert_close(result, expected, atol=1e-5, rtol=0)


def test_rdpo_on_flipped_labels_reaches_the_optimum_of_clean_ones() -> None:
    flip_rate = 0.3
    noisy = (1 - flip_rate) * BRADLEY_TERRY + flip_rate * BRADLEY_TERRY.T
    expected = (REFERENCE + REWARD / 0.7).softmax(0)
    robust = optimum(get_objective("rdpo").bind(beta=0.7, flip_rate=flip_rate), REFERENCE, noisy)
    torch.testing.assert_close(robust, expected, atol=1e-5, rtol=0)
    plain = optimum(get_objective("dpo").bind(beta=0.7), REFERENCE, noisy)
    assert (plain - expected).abs().max() > 0.1


def test_desiderata_loss_keeps_what_is_good_and_interpolates() -> None:
    """The desiderata of Hu et al. (2024); DPO lacks the first."""
    best = REWARD.log_softmax(0)
    for regulariser in (0.01, 0.3, 10.0):
        loss = get_objective("dpo-desiderata").bind(regulariser=regulariser)
        fixed_point = optimum(loss, best, BRADLEY_TERRY, best.exp())
        torch.testing.assert_close(fixed_point, best.exp(), atol=1e-5, rtol=0)
    moved = optimum(get_objective("dpo").bind(beta=0.7), best, BRADLEY_TERRY, best.exp())
    assert (moved - best.exp()).abs().max() > 0.1

    path = [
        optimum(
            get_objective("dpo-desiderata").bind(regulariser=regulariser),
            REFERENCE,
            BRADLEY_TERRY,
            REFERENCE.exp(),
        )
        for regulariser in (0.0, 0.1, 1.0, 1000.0)
    ]
    torch.testing.assert_close(path[0], best.exp(), atol=1e-4, rtol=0)
    away = [float((result - REFERENCE.exp()).abs().sum()) for result in path]
    assert away == sorted(away, reverse=True)
    assert away[-1] < 1e-3


def trl_module(name: str) -> Any:
    return pytest.importorskip(name, reason="TRL is not installed")


def trl_dpo_losses(kind: str, case: Case, *, beta: float, smoothing: float) -> Array:
    """Return what TRL's own trainer computes for each pair, from the same log-probabilities."""
    module = trl_module("trl.trainer.dpo_trainer")
    results = []
    for t, tree in enumerate(case.trees):
        for pair in tree.pairs:
            compared = (pair.chosen, pair.rejected)
            rows = [case.weights(t, b) * case.tokens(t, b) for b in compared]
            width = max(map(len, rows))
            log_probs = torch.zeros(2, width, dtype=torch.float64)
            mask = torch.zeros(2, width + 1, dtype=torch.long)
            for row, values in enumerate(rows):
                log_probs[row, : len(values)] = torch.from_numpy(values)
                mask[row, 1 : len(values) + 1] = 1
            results.append(
                _through_trl(
                    module,
                    log_probs,
                    mask,
                    [case.ref(t, b) for b in compared],
                    kind=kind,
                    beta=beta,
                    smoothing=smoothing,
                )
            )
    return np.array(results)


class _Parrot(torch.nn.Module):
    """Model that returns fixed log-probabilities."""

    def __init__(self, log_probs: torch.Tensor) -> None:
        super().__init__()
        self.fixed_log_probs = log_probs

    def forward(self, **_: Any) -> Any:
        zeros = torch.zeros_like(self.fixed_log_probs)
        return SimpleNamespace(
            log_probs=self.fixed_log_probs, entropy=zeros, mean_logits=zeros, is_top1=zeros.bool()
        )


def _through_trl(
    module: Any,
    log_probs: torch.Tensor,
    mask: torch.Tensor,
    reference: list[float],
    *,
    kind: str,
    beta: float,
    smoothing: float,
) -> float:
    model = _Parrot(log_probs)
    trainer = SimpleNamespace(
        model=model,
        accelerator=SimpleNamespace(
            device="cpu", gather=lambda x: x, gather_for_metrics=lambda x: x
        ),
        aux_loss_enabled=False,
        ld_alpha=None,
        precompute_ref_logps=True,
        f_divergence_type="reverse_kl",
        loss_types=[kind],
        loss_weights=[1.0],
        beta=beta,
        label_smoothing=smoothing,
        use_weighting=False,
        _metrics=defaultdict(lambda: defaultdict(list)),
        _total_train_tokens=0,
        _tp_size=1,
    )
    inputs = {
        "input_ids": torch.zeros_like(mask),
        "attention_mask": torch.ones_like(mask),
        "completion_mask": mask,
        "ref_chosen_logps": torch.tensor(reference[:1], dtype=torch.float64),
        "ref_rejected_logps": torch.tensor(reference[1:], dtype=torch.float64),
    }
    return float(module.DPOTrainer._compute_loss(trainer, model, inputs, return_outputs=False))


@pytest.mark.parametrize(
    ("name", "kind", "options"),
    [
        ("dpo", "sigmoid", {"beta": 0.2}),
        ("hinge", "hinge", {"beta": 0.2}),
        ("rdpo", "robust", {"beta": 0.2, "flip_rate": 0.3}),
        ("exo", "exo_pair", {"beta": 0.2, "label_smoothing": 0.01}),
        ("dno", "sigmoid", {"eta": 0.2}),
    ],
)
def test_equals_trl(name: str, kind: str, options: dict[str, float]) -> None:
    _, batch, case = example(name)
    hard = replace(
        batch,
        columns={
            name: values for name, values in batch.columns.items() if name != "pair.probability"
        },
    )
    smoothing = options.get("flip_rate", options.get("label_smoothing", 0.0))
    theirs = trl_dpo_losses(kind, case, beta=0.2, smoothing=smoothing)
    ours = get_objective(name).bind(**options)(hard).losses.numpy()
    np.testing.assert_allclose(ours, theirs, atol=1e-5, rtol=1e-5)


def test_sppo_equals_trl_summed_over_a_pair() -> None:
    trees = [
        PromptTree(
            (9,),
            (ResponseTokens((1, 2), win_rate=1.0), ResponseTokens((3,), win_rate=0.0)),
            pairs=(PairLabel(0, 1),),
        )
    ]
    case = Case(trees, np.array([-0.3, -1.0, -0.7]), np.array([-0.5, -0.8, -1.4]), np.zeros((3, 1)))
    theirs = trl_dpo_losses("sppo_hard", case, beta=0.5, smoothing=0.0)
    ours = bound("sppo")(
        Batch.from_trees(trees, torch.from_numpy(case.now), torch.from_numpy(case.reference))
    ).losses
    np.testing.assert_allclose(ours.sum().item(), theirs[0], atol=1e-5)


def test_ipo_equals_trl_where_its_average_over_tokens_is_of_one() -> None:
    """TRL divides by the number of tokens, which the equation does not."""
    trees = [
        PromptTree((9,), (ResponseTokens((1,)), ResponseTokens((3,))), pairs=(PairLabel(0, 1),))
    ]
    case = Case(trees, np.array([-0.3, -0.7]), np.array([-0.5, -1.4]), np.zeros((2, 1)))
    theirs = trl_dpo_losses("ipo", case, beta=0.2, smoothing=0.0)
    ours = bound("ipo")(
        Batch.from_trees(trees, torch.from_numpy(case.now), torch.from_numpy(case.reference))
    ).losses
    np.testing.assert_allclose(ours.numpy(), theirs, atol=1e-5)


def both(batch: Batch, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    chosen, rejected = batch.pairs(values)
    return chosen, rejected


def test_orpo_equals_trl() -> None:
    module = trl_module("trl.experimental.orpo.orpo_trainer")
    objective, batch, _ = example("orpo")
    chosen, rejected = both(batch, batch.mean(batch.policy))
    trainer = SimpleNamespace(beta=0.2, accelerator=SimpleNamespace(device="cpu"))
    theirs = -module.ORPOTrainer.odds_ratio_loss(trainer, chosen, rejected)[0] - chosen
    torch.testing.assert_close(objective(batch).losses, theirs.double(), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "kind", "options", "average"),
    [
        ("cpo", "sigmoid", {"beta": 0.2, "nll": 0.0}, False),
        ("simpo", "simpo", {"beta": 0.2, "gamma": 0.7}, True),
    ],
)
def test_reference_free_losses_equal_trl(
    name: str, kind: str, options: dict[str, float], average: bool
) -> None:
    module = trl_module("trl.experimental.cpo.cpo_trainer")
    _, batch, _ = example(name)
    trainer = SimpleNamespace(
        beta=0.2,
        alpha=0.0,
        loss_type=kind,
        simpo_gamma=options.get("gamma"),
        label_smoothing=0.0,
        accelerator=SimpleNamespace(device="cpu"),
    )
    values = batch.mean(batch.policy) if average else batch.sum(batch.policy)
    theirs = module.CPOTrainer.cpo_loss(trainer, *both(batch, values))[0]
    ours = get_objective(name).bind(**options)(batch).losses
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def test_conservative_cross_entropy_equals_trl() -> None:
    """TRL 1.16 has label smoothing in CPO only, of the same form as in cDPO."""
    module = trl_module("trl.experimental.cpo.cpo_trainer")
    objective, batch, _ = example("cdpo")
    trainer = SimpleNamespace(
        beta=0.2,
        alpha=0.0,
        loss_type="sigmoid",
        label_smoothing=0.3,
        accelerator=SimpleNamespace(device="cpu"),
    )
    theirs = module.CPOTrainer.cpo_loss(trainer, *both(batch, batch.log_ratio))[0]
    torch.testing.assert_close(objective(batch).losses, theirs, atol=1e-5, rtol=1e-5)
