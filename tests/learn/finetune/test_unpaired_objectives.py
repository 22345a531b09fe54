import math
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="objectives are functions of tensors")

from backtalk.learn.finetune.objective import BoundObjective, get_objective  # noqa: E402
from backtalk.learn.finetune.trees import PromptTree, ResponseTokens  # noqa: E402
from backtalk.testing.objectives import check_objective  # noqa: E402

from . import objective_cases as cases  # noqa: E402

SEEDS = range(4)


def bind(name: str, **options: object) -> BoundObjective:
    return get_objective(name).bind(**options)


def flat(rows: list[np.ndarray]) -> np.ndarray:
    return np.concatenate(rows)


def pairs(seed: int) -> cases.Case:
    """Trees of one good and one bad response each, the good one first."""
    case = cases.ragged(seed, lambda rng, count: [1.0, 0.0])
    return replace(case, trees=tuple(replace(tree, weight=1.0) for tree in case.trees))


def trl_pairs(case: cases.Case, loss: str, beta: float) -> float:
    trl = pytest.importorskip("trl", reason="TRL is what the losses are compared with")
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
    return cases.trl_loss(trl.DPOTrainer, logs[order], inputs, loss_types=[loss], beta=beta)


OPTIONS: dict[str, dict[str, float]] = {
    "kto": {"beta": 0.3, "desirable": 1.2, "undesirable": 0.7},
    "bco": {"beta": 0.3},
    "pmpo": {"alpha": 0.3, "beta": 0.8},
    "d2o": {"beta": 0.4, "alpha": 0.2},
    "nca": {"beta": 0.6, "alpha": 0.4},
    "infonca": {"beta": 0.6, "alpha": 0.4},
}


def case_of(name: str, seed: int) -> cases.Case:
    case = cases.ragged(seed, cases.scored if "nca" in name else cases.judged)
    return replace(
        case,
        pooled=torch.tensor(0.7, dtype=torch.float64),
        memory={"rewards/chosen": 0.5, "rewards/rejected": -0.2},
    )


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("seed", SEEDS)
class TestEach:
    def test_gradient_is_that_of_finite_differences(self, name: str, seed: int) -> None:
        cases.check_gradient(bind(name, **OPTIONS[name]), case_of(name, seed))

    def test_a_tree_has_its_loss_whatever_stands_beside_it(self, name: str, seed: int) -> None:
        cases.check_alone(bind(name, **OPTIONS[name]), case_of(name, seed))

    def test_a_batch_of_float32_gives_float32(self, name: str, seed: int) -> None:
        case = case_of(name, seed)
        case = replace(
            case,
            policy=case.policy.float(),
            reference=case.reference.float(),
            pooled=torch.tensor(0.7),
        )
        term = bind(name, **OPTIONS[name])(case.batch())
        assert term.losses.dtype == torch.float32
        assert term.losses.isfinite().all()
        assert all(values.isfinite().all() for values in term.metrics.values())


class TestKto:
    @pytest.mark.parametrize("seed", SEEDS)
    @pytest.mark.parametrize("point", [0.7, -0.4, None])
    def test_equation_8(self, seed: int, point: float | None) -> None:
        pooled = None if point is None else torch.tensor(point, dtype=torch.float64)
        case = replace(cases.ragged(seed, cases.judged), pooled=pooled)
        result = bind("kto", beta=0.3, desirable=1.2, undesirable=0.7)(case.batch()).losses
        z0 = max(0.0, point or 0.0)
        expected = [
            1.2 - 1.2 * cases.sigmoid(0.3 * (r - z0))
            if good
            else 0.7 - 0.7 * cases.sigmoid(0.3 * (z0 - r))
            for r, good in zip(flat(case.log_ratios()), flat(case.values()), strict=True)
        ]
        np.testing.assert_allclose(result.numpy(), expected, atol=1e-12)

    @pytest.mark.parametrize("seed", SEEDS)
    @pytest.mark.parametrize("point", [0.7, -0.4])
    def test_loss_of_trl(self, seed: int, point: float) -> None:
        trl = pytest.importorskip("trl", reason="TRL is what the losses are compared with")
        case = cases.ragged(seed, cases.judged)
        case = replace(
            case,
            trees=tuple(replace(tree, weight=1.0) for tree in case.trees),
            pooled=torch.tensor(point, dtype=torch.float64),
        )
        logs, mask, reference = cases.trl_inputs(case)
        inputs = {
            "input_ids": torch.ones_like(mask),
            "attention_mask": torch.ones_like(mask),
            "completion_mask": mask,
            "label": torch.tensor(flat(case.values()) > 0.5),
            "ref_logps": torch.tensor(reference, dtype=torch.float64),
            "ref_KL_logps": torch.zeros(len(logs), dtype=torch.float64),
        }
        expected = cases.trl_loss(
            trl.KTOTrainer,
            logs,
            inputs,
            loss_type="kto",
            beta=0.3,
            desirable_weight=1.2,
            undesirable_weight=0.7,
            calculate_KL=True,
            _compute_kl_logps=lambda model, batch: torch.full_like(batch["ref_logps"], point),
        )
        bound = bind("kto", beta=0.3, desirable=1.2, undesirable=0.7)
        assert float(cases.mean_loss(bound, case.batch())) == pytest.approx(expected, abs=1e-10)

    def test_starts_at_half(self) -> None:
        for weight in (1.0, 1.7):
            bound = bind("kto", desirable=weight, undesirable=weight)
            case = replace(cases.ragged(0, cases.judged), pooled=torch.tensor(0.3)).at_start()
            assert float(cases.mean_loss(bound, case.batch())) == pytest.approx(bound.initial_loss)

    def test_has_no_known_start_where_the_classes_have_different_weights(self) -> None:
        assert bind("kto", desirable=1.5).initial_loss is None

    def test_prefers_the_arms_that_are_called_good_more_often_than_not(self) -> None:
        reference = torch.log(torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64))
        good = (0.9, 0.7, 0.3, 0.1)
        trees = [
            cases.arms(value, tokens=[arm], weight=weight * float(reference[arm].exp()))
            for arm, share in enumerate(good)
            for value, weight in ((1.0, share), (0.0, 1 - share))
        ]
        loss = cases.bandit(bind("kto"), trees, reference, pooled=True)
        logits = reference.clone().requires_grad_()
        optimiser = torch.optim.Adam([logits], lr=0.05)
        for _ in range(500):
            optimiser.zero_grad()
            loss(logits).backward()
            optimiser.step()
        result = torch.softmax(logits.detach(), dim=0)
        assert (result[:2] > reference[:2].exp()).all()
        assert result[2:].sum() < 0.01


class TestBco:
    @pytest.mark.parametrize("seed", SEEDS)
    @pytest.mark.parametrize(
        ("memory", "shift"),
        [
            ({}, 0.0),
            ({"rewards/chosen": 0.5, "rewards/rejected": -0.2}, 0.15),
            ({"rewards/rejected": -0.2}, -0.2),
        ],
    )
    def test_loss_with_the_reward_shift(
        self, seed: int, memory: dict[str, float], shift: float
    ) -> None:
        case = replace(cases.ragged(seed, cases.judged), memory=memory)
        reward, good = 0.3 * flat(case.log_ratios()), flat(case.values()) > 0.5
        expected = np.where(
            good, -np.log(cases.sigmoid(reward - shift)), -np.log(cases.sigmoid(shift - reward))
        )
        term = bind("bco", beta=0.3)(case.batch())
        np.testing.assert_allclose(term.losses.numpy(), expected, atol=1e-12)
        assert float(term.ema["rewards/chosen"].mean()) == pytest.approx(reward[good].mean())
        assert float(term.ema["rewards/rejected"].mean()) == pytest.approx(reward[~good].mean())

    @pytest.mark.parametrize("seed", SEEDS)
    def test_loss_of_trl_for_pairs(self, seed: int) -> None:
        case = pairs(seed)
        ours = 2 * float(cases.mean_loss(bind("bco", beta=0.3), case.batch()))
        assert ours == pytest.approx(trl_pairs(case, "bco_pair", 0.3), abs=1e-10)

    def test_remembers_nothing_of_a_class_that_is_not_there(self) -> None:
        case = cases.ragged(0, lambda rng, count: [1.0] * count)
        assert set(bind("bco")(case.batch()).ema) == {"rewards/chosen"}

    def test_shift_lowers_the_bound_on_the_loss_of_dpo(self) -> None:
        reward = np.array([2.1, 2.6])
        pair = cases.arms(1.0, 0.0)
        policy = torch.tensor(reward)
        case = cases.Case((pair,), policy, torch.zeros_like(policy), policy[:, None])
        shifted = replace(case, memory={"rewards/chosen": 2.1, "rewards/rejected": 2.6})
        dpo = -math.log(cases.sigmoid(reward[0] - reward[1]))
        plain, tight = (
            2 * float(cases.mean_loss(bind("bco", beta=1.0), one.batch()))
            for one in (case, shifted)
        )
        assert dpo < tight < plain


class TestPmpo:
    @pytest.mark.parametrize("seed", SEEDS)
    @pytest.mark.parametrize("kinds", [(0.0, 1.0), (1.0,), (0.0,)])
    def test_objective(self, seed: int, kinds: tuple[float, ...]) -> None:
        case = cases.ragged(seed, lambda rng, count: rng.choice(kinds, size=count).tolist())
        expected = []
        for row in case.responses():
            for value, w, p, q in row:
                ratio = np.exp(p) / np.exp(q)
                sign = -0.3 if value else 0.7
                expected.append(sign * (w @ p) + 0.8 * (w @ (ratio - 1 - np.log(ratio))))
        result = bind("pmpo", alpha=0.3, beta=0.8)(case.batch()).losses
        np.testing.assert_allclose(result.numpy(), expected, atol=1e-12)

    def test_estimate_of_the_divergence_is_exact_in_the_mean(self) -> None:
        rng = np.random.default_rng(0)
        policy, reference = (np.log(rng.dirichlet(np.ones(5))) for _ in range(2))
        trees = [
            cases.arms(1.0, tokens=[arm], weight=float(weight))
            for arm, weight in enumerate(np.exp(reference))
        ]
        loss = cases.bandit(bind("pmpo", alpha=0, beta=1.0), trees, torch.from_numpy(reference))
        divergence = np.exp(reference) @ (reference - policy)
        assert float(loss(torch.from_numpy(policy))) == pytest.approx(divergence, abs=1e-12)

    def test_optimum_with_both_kinds(self) -> None:
        alpha, beta = 0.4, 0.9
        reference = np.array([0.1, 0.2, 0.3, 0.4])
        good = np.array([0.9, 0.7, 0.3, 0.05])
        trees = [
            cases.arms(value, tokens=[arm], weight=weight * reference[arm])
            for arm in range(4)
            for value, weight in ((1.0, good[arm]), (0.0, 1 - good[arm]))
        ]
        logs = torch.log(torch.from_numpy(reference))
        result = cases.minimum(
            cases.bandit(bind("pmpo", alpha=alpha, beta=beta), trees, logs), logs
        )
        optimum = reference * (beta + alpha * good - (1 - alpha) * (1 - good))
        np.testing.assert_allclose(result, optimum / optimum.sum(), atol=1e-6)

    @pytest.mark.parametrize(("value", "ratio"), [(1.0, 1 + 0.4 / 0.9), (0.0, 1 - 0.6 / 0.9)])
    def test_optimum_with_one_kind(self, value: float, ratio: float) -> None:
        logs = torch.log(torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64))
        trees = [cases.arms(value, tokens=[arm]) for arm in (0, 1)]
        result = cases.minimum(cases.bandit(bind("pmpo", alpha=0.4, beta=0.9), trees, logs), logs)
        np.testing.assert_allclose(result[:2], [0.1 * ratio, 0.2 * ratio], atol=1e-6)


class TestD2o:
    @pytest.mark.parametrize("seed", SEEDS)
    def test_loss(self, seed: int) -> None:
        case = cases.ragged(seed, cases.judged)
        expected = []
        for ratios, values in zip(case.log_ratios(), case.values(), strict=True):
            samples, rejected = ratios[values == 1], ratios[values == 0]
            gained = 0.4 / len(samples) * samples.sum() if len(samples) else 0.0
            losses = [-math.log(cases.sigmoid(gained - 0.2 * r)) for r in rejected]
            expected.append(sum(losses) / len(losses) if losses else 0.0)
        result = bind("d2o", beta=0.4, alpha=0.2)(case.batch()).losses
        np.testing.assert_allclose(result.numpy(), expected, atol=1e-12)

    def test_is_dpo_with_one_sample(self) -> None:
        case = pairs(0)
        ours = float(cases.mean_loss(bind("d2o", beta=0.3, alpha=0.3), case.batch()))
        assert ours == pytest.approx(trl_pairs(case, "sigmoid", 0.3), abs=1e-10)

    def test_bounds_the_mean_of_pairwise_losses_from_below(self) -> None:
        ratios = np.random.default_rng(0).normal(size=8)
        tree = cases.arms(0.0, *[1.0] * 7)
        policy = torch.from_numpy(ratios)
        case = cases.Case((tree,), policy, torch.zeros_like(policy), policy[:, None])
        ours = float(bind("d2o", beta=1.0, alpha=1.0)(case.batch()).losses[0])
        assert ours < np.mean(-np.log(cases.sigmoid(ratios[1:] - ratios[0])))


class TestNca:
    @pytest.mark.parametrize("seed", SEEDS)
    @pytest.mark.parametrize("alpha", [0.4, 0.0])
    def test_losses(self, seed: int, alpha: float) -> None:
        case = cases.ragged(seed, cases.scored)
        nca, infonca = [], []
        for ratios, values in zip(case.log_ratios(), case.values(), strict=True):
            reward = 0.6 * ratios
            if alpha:
                target = np.exp(values / alpha) / np.exp(values / alpha).sum()
            else:
                target = np.eye(len(values))[values.argmax()]
            nca.append(
                -sum(
                    t * np.log(cases.sigmoid(r)) + np.log(cases.sigmoid(-r)) / len(values)
                    for t, r in zip(target, reward, strict=True)
                )
            )
            infonca.append(-target @ np.log(np.exp(reward) / np.exp(reward).sum()))
        for name, expected in (("nca", nca), ("infonca", infonca)):
            result = bind(name, beta=0.6, alpha=alpha)(case.batch()).losses
            np.testing.assert_allclose(result.numpy(), expected, atol=1e-12)

    @pytest.mark.parametrize("seed", SEEDS)
    @pytest.mark.parametrize(("name", "loss"), [("nca", "nca_pair"), ("infonca", "sigmoid")])
    def test_loss_of_trl_for_pairs(self, seed: int, name: str, loss: str) -> None:
        case = pairs(seed)
        ours = float(cases.mean_loss(bind(name, beta=0.3, alpha=0.0), case.batch()))
        assert ours == pytest.approx(trl_pairs(case, loss, 0.3), abs=1e-10)

    @pytest.mark.parametrize("name", ["nca", "infonca"])
    def test_optimum_is_the_reference_times_the_exponential_of_the_score(self, name: str) -> None:
        scores = np.array([0.3, 1.0, 0.1, 0.7])
        logs = torch.full((4,), -math.log(4), dtype=torch.float64)
        loss = cases.bandit(bind(name, beta=1.0, alpha=0.5), [cases.arms(*scores.tolist())], logs)
        optimum = np.exp(scores / 0.5)
        np.testing.assert_allclose(cases.minimum(loss, logs), optimum / optimum.sum(), atol=1e-6)

    def test_infonca_starts_at_the_logarithm_of_the_length(self) -> None:
        case = cases.ragged(0, cases.scored).at_start()
        lengths = [len(tree.responses) for tree in case.trees]
        result = bind("infonca")(case.batch()).losses
        np.testing.assert_allclose(result.numpy(), np.log(lengths), atol=1e-12)


@pytest.mark.parametrize("name", ["bco", "nca"])
def test_value_at_the_start(name: str) -> None:
    bound = bind(name, **OPTIONS[name])
    case = cases.ragged(1, cases.scored if name == "nca" else cases.judged).at_start()
    losses = bound(case.batch()).losses
    np.testing.assert_allclose(losses.numpy(), bound.initial_loss, atol=1e-12)


def test_value_of_d2o_at_the_start() -> None:
    bound = bind("d2o")
    case = cases.ragged(1, lambda rng, count: [0.0] + [1.0] * (count - 1)).at_start()
    np.testing.assert_allclose(bound(case.batch()).losses.numpy(), bound.initial_loss, atol=1e-12)


@pytest.mark.parametrize("name", OPTIONS)
def test_the_good_arm_gains(name: str) -> None:
    logs = torch.full((2,), -math.log(2), dtype=torch.float64)
    bound = bind(name, **OPTIONS[name])
    assert cases.good_arm_gains(cases.bandit(bound, [cases.arms(1.0, 0.0)], logs, pooled=True))


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_one_kind_alone_has_a_gradient(name: str, value: float) -> None:
    tree = PromptTree(
        (7,),
        (
            ResponseTokens((1, 2), **cases.columns(value)),
            ResponseTokens((3,), **cases.columns(value)),
        ),
    )
    policy = torch.tensor([-1.0, -2.0, -0.5], dtype=torch.float64)
    case = cases.Case((tree,), policy, policy - 0.1, policy[:, None])
    assert cases.gradient(bind(name, **OPTIONS[name]), case).isfinite().all()


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("seed", SEEDS)
def test_laws_of_objectives(name: str, seed: int) -> None:
    check_objective(bind(name, **OPTIONS[name]), seed=seed)
