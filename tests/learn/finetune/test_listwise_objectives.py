import math
from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="objectives are functions of tensors")

from backtalk.errors import BacktalkError  # noqa: E402
from backtalk.learn.finetune.objective import Batch, BoundObjective, get_objective  # noqa: E402
from backtalk.testing.objectives import check_objective  # noqa: E402

from . import objective_cases as cases  # noqa: E402

SEEDS = range(4)
OPTIONS: dict[str, dict[str, object]] = {
    "lipo": {"beta": 0.4},
    "rank-softmax": {"beta": 0.4},
    "plackett-luce-dpo": {"beta": 0.4},
    "pro": {"beta": 0.05, "temperature": True},
}


def bind(name: str, **options: object) -> BoundObjective:
    return get_objective(name).bind(**options)


def pair_case(values: tuple[float, float], ratios: tuple[float, float]) -> cases.Case:
    policy = torch.tensor(ratios, dtype=torch.float64)
    return cases.Case((cases.arms(*values),), policy, torch.zeros_like(policy), policy[:, None])


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("draw", [cases.scored, cases.coarse])
class TestEach:
    def test_gradient_is_that_of_finite_differences(self, name, seed, draw) -> None:
        cases.check_gradient(bind(name, **OPTIONS[name]), cases.ragged(seed, draw))

    def test_a_tree_has_its_loss_whatever_stands_beside_it(self, name, seed, draw) -> None:
        cases.check_alone(bind(name, **OPTIONS[name]), cases.ragged(seed, draw))

    def test_order_of_the_responses_does_not_matter(self, name, seed, draw) -> None:
        case = cases.ragged(seed, draw)
        turned = replace(
            case,
            trees=tuple(replace(tree, responses=tree.responses[::-1]) for tree in case.trees[::-1]),
            policy=backwards(case, case.policy),
            reference=backwards(case, case.reference),
        )
        bound = bind(name, **OPTIONS[name])
        torch.testing.assert_close(bound(turned.batch()).losses.flip(0), bound(case.batch()).losses)

    def test_metrics_are_numbers(self, name, seed, draw) -> None:
        term = bind(name, **OPTIONS[name])(cases.ragged(seed, draw).batch())
        assert all(values.isfinite().all() for values in term.metrics.values())


def backwards(case: cases.Case, tokens):
    lengths = [len(branch.tokens) for tree in case.trees for branch in tree.responses]
    return torch.cat(tokens.split(lengths)[::-1])


class TestLipo:
    @pytest.mark.parametrize("seed", SEEDS)
    def test_equation_8(self, seed: int) -> None:
        case = cases.ragged(seed, cases.scored)
        expected = []
        for ratios, psi in zip(case.log_ratios(), case.values(), strict=True):
            s = 0.4 * ratios
            tau = [1 + sum(other > mine for other in s) for mine in s]
            total = 0.0
            for i in range(len(s)):
                for j in range(len(s)):
                    if psi[i] > psi[j]:
                        gain = abs((2 ** psi[i] - 1) - (2 ** psi[j] - 1))
                        cut = abs(1 / math.log(1 + tau[i]) - 1 / math.log(1 + tau[j]))
                        total += gain * cut * math.log(1 + math.exp(-(s[i] - s[j])))
            expected.append(total)
        result = bind("lipo", beta=0.4)(case.batch()).losses
        np.testing.assert_allclose(result.numpy(), expected, atol=1e-12)

    def test_is_a_weighted_pairwise_logistic_loss_for_two(self) -> None:
        case = pair_case((0.9, 0.2), (0.3, -0.5))
        weight = (2**0.9 - 2**0.2) * (1 / math.log(2) - 1 / math.log(3))
        result = float(bind("lipo", beta=0.4)(case.batch()).losses[0])
        assert result == pytest.approx(-weight * math.log(cases.sigmoid(0.4 * 0.8)))

    def test_learns_where_the_policy_is_the_reference(self) -> None:
        case = cases.ragged(0, cases.scored).at_start()
        assert cases.gradient(bind("lipo"), case).abs().max() > 1e-4


class TestRankSoftmax:
    @pytest.mark.parametrize("seed", SEEDS)
    def test_equation_11(self, seed: int) -> None:
        case = cases.ragged(seed, cases.scored)
        expected = [
            -sum(
                psi[i] / psi.sum() * math.log(np.exp(0.4 * r[i]) / np.exp(0.4 * r).sum())
                for i in range(len(r))
            )
            for r, psi in zip(case.log_ratios(), case.values(), strict=True)
        ]
        result = bind("rank-softmax", beta=0.4)(case.batch()).losses
        np.testing.assert_allclose(result.numpy(), expected, atol=1e-12)

    def test_a_list_of_zeros_has_no_loss(self) -> None:
        case = pair_case((0.0, 0.0), (0.3, -0.5))
        assert float(bind("rank-softmax")(case.batch()).losses[0]) == 0

    def test_refuses_values_below_0(self) -> None:
        with pytest.raises(BacktalkError, match="negative score"):
            bind("rank-softmax")(pair_case((0.5, -0.5), (0.3, -0.5)).batch())


def log_ranking(order: tuple[int, ...], s: np.ndarray) -> float:
    """The log-probability of a ranking, best first, drawn from exp(s) without replacement."""
    return sum(
        s[first] - math.log(np.exp(s[list(order[at:])]).sum()) for at, first in enumerate(order)
    )


class TestPlackettLuce:
    @pytest.mark.parametrize("seed", SEEDS)
    def test_equation_20(self, seed: int) -> None:
        case = cases.ragged(seed, cases.scored)
        expected = [
            -log_ranking(tuple(np.argsort(-values)), 0.4 * ratios)
            for ratios, values in zip(case.log_ratios(), case.values(), strict=True)
        ]
        result = bind("plackett-luce-dpo", beta=0.4)(case.batch()).losses
        np.testing.assert_allclose(result.numpy(), expected, atol=1e-12)

    @pytest.mark.parametrize("draw", [cases.scored, cases.coarse])
    def test_starts_at_the_logarithm_of_the_number_of_orders(self, draw) -> None:
        case = cases.ragged(0, draw).at_start()
        expected = [math.log(math.factorial(len(tree.responses))) for tree in case.trees]
        result = bind("plackett-luce-dpo")(case.batch()).losses
        np.testing.assert_allclose(result.numpy(), expected, atol=1e-12)

    def test_ties_are_nearer_the_mean_over_their_orders_than_any_one_order(self) -> None:
        rng = np.random.default_rng(0)
        values = np.array([1.0, 1.0, 0.5, 0.5, 0.5, 0.0])
        away: list[float] = []
        one_order: list[float] = []
        for _ in range(50):
            s = rng.normal(scale=0.5, size=6)
            policy = torch.from_numpy(s)
            case = cases.Case(
                (cases.arms(*values.tolist()),), policy, torch.zeros_like(policy), policy[:, None]
            )
            result = float(bind("plackett-luce-dpo", beta=1.0)(case.batch()).losses[0])
            losses = [
                -log_ranking((*first, *then, 5), s)
                for first in permutations((0, 1))
                for then in permutations((2, 3, 4))
            ]
            exact = -np.log(np.mean(np.exp(-np.array(losses))))
            away.append(abs(result - exact))
            one_order.append(np.abs(np.array(losses) - exact).mean())
        assert np.mean(away) < 0.5 * np.mean(one_order)

    def test_is_dpo_for_two(self) -> None:
        case = cases.ragged(2, lambda rng, count: [0.2, 0.7])
        expected = [-math.log(cases.sigmoid(0.4 * (r[1] - r[0]))) for r in case.log_ratios()]
        result = bind("plackett-luce-dpo", beta=0.4)(case.batch()).losses
        np.testing.assert_allclose(result.numpy(), expected, atol=1e-12)

    def test_pairs_of_trl(self) -> None:
        trl = pytest.importorskip("trl", reason="TRL is what the losses are compared with")
        case = cases.ragged(3, lambda rng, count: [0.7, 0.2])
        case = replace(case, trees=tuple(replace(tree, weight=1.0) for tree in case.trees))
        logs, mask, reference = cases.trl_inputs(case)
        order = [*range(0, len(logs), 2), *range(1, len(logs), 2)]
        sums = torch.tensor(reference, dtype=torch.float64)[order].chunk(2)
        inputs = {
            "input_ids": torch.ones_like(mask),
            "attention_mask": torch.ones_like(mask),
            "completion_mask": mask[order],
            "ref_chosen_logps": sums[0],
            "ref_rejected_logps": sums[1],
        }
        expected = cases.trl_loss(
            trl.DPOTrainer, logs[order], inputs, loss_types=["sigmoid"], beta=0.4
        )
        ours = float(cases.mean_loss(bind("plackett-luce-dpo", beta=0.4), case.batch()))
        assert ours == pytest.approx(expected, abs=1e-10)

    def test_optimum_is_the_reference_times_the_exponential_of_the_reward(self) -> None:
        beta, reward = 0.5, np.array([0.3, 1.0, -0.4, 0.6])
        reference = np.array([0.1, 0.2, 0.3, 0.4])
        trees = []
        for order in permutations(range(4)):
            values = [float(-order.index(arm)) for arm in range(4)]
            trees.append(cases.arms(*values, weight=math.exp(log_ranking(order, reward))))
        logs = torch.log(torch.from_numpy(reference))
        bound = bind("plackett-luce-dpo", beta=beta)
        optimum = reference * np.exp(reward / beta)
        np.testing.assert_allclose(
            cases.minimum(cases.bandit(bound, trees, logs), logs),
            optimum / optimum.sum(),
            atol=1e-6,
        )


class TestPro:
    @pytest.mark.parametrize("seed", SEEDS)
    @pytest.mark.parametrize("temperature", [True, False])
    def test_equations(self, seed: int, temperature: bool) -> None:
        case = cases.ragged(seed, cases.scored)
        expected = []
        for row in case.responses():
            ordered = sorted(row, key=lambda one: -one[0])
            values = [value for value, *_ in ordered]
            s = [w @ p / w.sum() for _, w, p, _ in ordered]
            total = 0.0
            for k in range(len(s) - 1):
                others = range(k + 1, len(s))
                t = {i: 1 / (values[k] - values[i]) if temperature else 1.0 for i in others}
                own = math.exp(s[k] / min(t.values()))
                total -= math.log(own / (own + sum(math.exp(s[i] / t[i]) for i in others)))
            _, w, p, _ = ordered[0]
            expected.append(total - 0.05 * (len(s) - 1) ** 2 * (w @ p))
        result = bind("pro", beta=0.05, temperature=temperature)(case.batch()).losses
        np.testing.assert_allclose(result.numpy(), expected, atol=1e-12)

    def test_is_a_logistic_loss_for_two(self) -> None:
        case = pair_case((0.9, 0.2), (-0.3, -1.5))
        result = float(bind("pro", beta=0.0)(case.batch()).losses[0])
        assert result == pytest.approx(-math.log(cases.sigmoid(0.7 * 1.2)))

    def test_equals_are_not_set_against_each_other(self) -> None:
        case = pair_case((0.9, 0.9), (-0.3, -1.5))
        for temperature in (True, False):
            bound = bind("pro", beta=0.0, temperature=temperature)
            assert float(bound(case.batch()).losses[0]) == 0
        share = float(bind("pro", beta=0.05)(case.batch()).losses[0])
        assert share == pytest.approx(0.05 * 0.9)

    def test_needs_no_reference(self) -> None:
        case = pair_case((0.9, 0.2), (-0.3, -1.5))
        assert bind("pro")(Batch.from_trees(case.trees, case.policy)).losses.isfinite().all()


@pytest.mark.parametrize("name", OPTIONS)
def test_the_better_arm_gains(name: str) -> None:
    logs = torch.full((2,), -math.log(2), dtype=torch.float64)
    bound = bind(name, **OPTIONS[name])
    assert cases.good_arm_gains(cases.bandit(bound, [cases.arms(1.0, 0.0)], logs))


@pytest.mark.parametrize("name", OPTIONS)
def test_longer_lists_are_ranked_as_their_scores(name: str) -> None:
    scores = [0.2, 0.9, 0.5, 0.0, 0.7]
    logs = torch.full((5,), -math.log(5), dtype=torch.float64)
    loss = cases.bandit(bind(name, **OPTIONS[name]), [cases.arms(*scores)], logs)
    logits = logs.clone().requires_grad_()
    optimiser = torch.optim.Adam([logits], lr=0.02)
    for _ in range(200):
        optimiser.zero_grad()
        loss(logits).backward()
        optimiser.step()
    assert logits.detach().argsort().tolist() == np.argsort(scores).tolist()


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("seed", SEEDS)
def test_laws_of_objectives(name: str, seed: int) -> None:
    check_objective(bind(name, **OPTIONS[name]), seed=seed)
