import math
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="objectives are functions of tensors")

from backtalk.errors import BacktalkError  # noqa: E402
from backtalk.learn.finetune.objective import Batch, BoundObjective, get_objective  # noqa: E402
from backtalk.testing.objectives import check_objective  # noqa: E402

from . import objective_cases as cases  # noqa: E402

SEEDS = range(4)
OPTIONS: dict[str, dict[str, float]] = {
    "sft": {},
    "superhf": {"beta": 0.4},
    "weak-to-strong": {"alpha": 0.6},
    "unlikelihood": {"alpha": 0.7},
    "dft": {"temperature": 0.9},
    "dft2": {"temperature": 0.3},
}


def bind(name: str, **options: object) -> BoundObjective:
    return get_objective(name).bind(**options)


def tokens(case: cases.Case) -> list[tuple[float, float, float]]:
    """Value, policy and reference of each token."""
    return [
        (value, float(p), float(q))
        for row in case.responses()
        for value, _, policy, reference in row
        for p, q in zip(policy, reference, strict=True)
    ]


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("seed", SEEDS)
class TestEach:
    def test_gradient_is_that_of_finite_differences(self, name: str, seed: int) -> None:
        cases.check_gradient(bind(name, **OPTIONS[name]), cases.ragged(seed, cases.judged))

    def test_a_tree_has_its_loss_whatever_stands_beside_it(self, name: str, seed: int) -> None:
        cases.check_alone(bind(name, **OPTIONS[name]), cases.ragged(seed, cases.judged))

    def test_metrics_are_numbers(self, name: str, seed: int) -> None:
        term = bind(name, **OPTIONS[name])(cases.ragged(seed, cases.judged).batch())
        assert all(values.isfinite().all() for values in term.metrics.values())

    def test_masked_tokens_have_no_gradient(self, name: str, seed: int) -> None:
        case = cases.ragged(seed, cases.judged)
        slope = cases.gradient(bind(name, **OPTIONS[name]), case)
        masked = case.batch().token_weight == 0
        assert masked.any()
        assert (slope[masked] == 0).all()


@pytest.mark.parametrize("seed", SEEDS)
class TestTokens:
    def test_sft(self, seed: int) -> None:
        case = cases.ragged(seed, cases.judged)
        result = bind("sft")(case.batch()).losses
        np.testing.assert_allclose(result.numpy(), [-p for _, p, _ in tokens(case)])

    def test_superhf(self, seed: int) -> None:
        case = cases.ragged(seed, cases.judged)
        expected = [
            -p + 0.4 * (math.exp(p) / math.exp(q) - 1 - (p - q)) for _, p, q in tokens(case)
        ]
        result = bind("superhf", beta=0.4)(case.batch()).losses
        np.testing.assert_allclose(result.numpy(), expected, atol=1e-12)

    def test_weak_to_strong(self, seed: int) -> None:
        case = cases.ragged(seed, cases.judged)
        expected = [
            (1 - 0.6) * -p + 0.6 * -max(p, rival)
            for (_, p, _), rival in zip(tokens(case), case.rivals[:, 0].tolist(), strict=True)
        ]
        result = bind("weak-to-strong", alpha=0.6)(case.batch()).losses
        np.testing.assert_allclose(result.numpy(), expected, atol=1e-12)

    def test_unlikelihood(self, seed: int) -> None:
        case = cases.ragged(seed, cases.judged)
        expected = [
            -p if value else -0.7 * math.log(1 - math.exp(p)) for value, p, _ in tokens(case)
        ]
        result = bind("unlikelihood", alpha=0.7)(case.batch()).losses
        np.testing.assert_allclose(result.numpy(), expected, atol=1e-12)


class TestWeakToStrong:
    def test_a_confident_model_is_confirmed_against_a_weak_label(self) -> None:
        logits = torch.tensor([0.0, 1.5], dtype=torch.float64, requires_grad=True)
        tree = [cases.arms(1.0, tokens=[0])]
        reference = torch.zeros(2, dtype=torch.float64)
        slopes = {}
        for alpha in (0.0, 1.0):
            loss = cases.bandit(bind("weak-to-strong", alpha=alpha), tree, reference)
            (slopes[alpha],) = torch.autograd.grad(loss(logits), logits)
        assert slopes[0.0][0] < 0 < slopes[0.0][1]
        assert slopes[1.0][1] < 0 < slopes[1.0][0]

    def test_missing_log_probabilities_of_other_tokens_are_an_error(self) -> None:
        case = cases.ragged(0, cases.judged)
        with pytest.raises(BacktalkError, match="most probable other token"):
            bind("weak-to-strong")(Batch.from_trees(case.trees, case.policy))


class TestSuperhf:
    def test_prior_holds_the_policy_at_a_multiple_of_the_reference(self) -> None:
        logs = torch.log(torch.tensor([0.1, 0.2, 0.7], dtype=torch.float64))
        loss = cases.bandit(bind("superhf", beta=0.8), [cases.arms(1.0, tokens=[0])], logs)
        result = cases.minimum(loss, logs)
        assert result[0] == pytest.approx(0.1 * (1 + 1 / 0.8), abs=1e-6)

    def test_prior_is_finite_and_pulls_back_however_far_the_policy_is(self) -> None:
        policy = torch.tensor([-1.0, -1.0], requires_grad=True)
        batch = Batch.from_trees([cases.arms(1.0, 1.0)], policy, torch.tensor([-21.5, -200.0]))
        losses = bind("superhf")(batch).losses
        (slope,) = torch.autograd.grad(losses.sum(), policy)
        assert losses.isfinite().all()
        assert (slope > 1e6).all()

    def test_without_a_prior_it_is_sft(self) -> None:
        case = cases.ragged(0, cases.judged)
        torch.testing.assert_close(
            bind("superhf", beta=0)(case.batch()).losses, bind("sft")(case.batch()).losses
        )


class TestUnlikelihood:
    def test_a_probability_of_one_has_a_finite_loss(self) -> None:
        policy = torch.zeros(1)
        batch = Batch.from_trees([cases.arms(0.0)], policy)
        assert bind("unlikelihood")(batch).losses.isfinite().all()


class TestDft:
    def expected(self, case: cases.Case, *, free: bool, tau: float) -> list[float]:
        losses = []
        for row in case.responses():
            score = {True: [], False: []}
            for value, w, p, q in row:
                s = w @ p / w.sum() if free else w @ p
                proposal = 1.0 if free else math.exp(w @ q)
                score[value > 0.5].append((s, proposal))
            loss = -np.mean([s for s, _ in score[True]]) if score[True] else 0.0
            if score[False]:
                z = np.mean([math.exp(s / tau) / proposal for s, proposal in score[False]])
                loss += tau * math.log(z)
            losses.append(float(loss))
        return losses

    @pytest.mark.parametrize("seed", SEEDS)
    @pytest.mark.parametrize(("name", "tau"), [("dft", 0.9), ("dft2", 0.3)])
    def test_loss(self, seed: int, name: str, tau: float) -> None:
        case = cases.ragged(seed, cases.judged)
        result = bind(name, temperature=tau)(case.batch()).losses
        np.testing.assert_allclose(
            result.numpy(), self.expected(case, free=name == "dft2", tau=tau), atol=1e-12
        )

    def test_normaliser_is_exact_in_the_mean(self) -> None:
        """All responses, each as often as the reference draws it, give log sum exp(s / tau)."""
        reference = np.array([1, 2, 3, 4]) / 10
        policy = np.array([0.4, 0.3, 0.2, 0.1])
        drawn = [arm for arm in range(4) for _ in range(arm + 1)]
        tree = cases.arms(*[0.0] * 10, tokens=drawn)
        loss = cases.bandit(
            bind("dft", temperature=0.7), [tree], torch.log(torch.from_numpy(reference))
        )
        result = float(loss(torch.log(torch.from_numpy(policy))))
        assert result == pytest.approx(0.7 * math.log((policy ** (1 / 0.7)).sum()))

    @pytest.mark.parametrize("rate", [0.3, 1.0])
    def test_moving_average_divides_the_gradient(self, rate: float) -> None:
        """The gradient of a sample is that of s(y_k), weighted by exp(s/tau) / (m pi_ref u)."""
        tau, known = 0.9, 0.8
        case = cases.ragged(3, lambda rng, count: [1.0] + [0.0] * (count - 1))
        case = replace(
            case,
            trees=tuple(
                replace(tree, weight=1.0, features={"log_normaliser": known}) for tree in case.trees
            ),
        )
        slope = cases.gradient(bind("dft", temperature=tau, rate=rate), case).numpy()
        expected = []
        for row in case.responses():
            samples = [
                (math.exp(w @ p / tau) / math.exp(w @ q)) for value, w, p, q in row if not value
            ]
            u = (1 - rate) * math.exp(known) + rate * (np.mean(samples) if samples else 1.0)
            for value, w, p, q in row:
                share = math.exp(w @ p / tau) / math.exp(w @ q) / (len(samples) or 1) / u
                expected += list((-1.0 if value else share) * w / len(case.trees))
        np.testing.assert_allclose(slope, expected, atol=1e-12)

    def test_the_first_average_is_what_the_samples_say(self) -> None:
        case = cases.ragged(1, cases.judged)
        torch.testing.assert_close(
            bind("dft", rate=0.2)(case.batch()).losses, bind("dft")(case.batch()).losses
        )


@pytest.mark.parametrize("name", ["unlikelihood", "dft", "dft2"])
def test_the_good_arm_gains(name: str) -> None:
    logs = torch.full((2,), -math.log(2), dtype=torch.float64)
    bound = bind(name, **OPTIONS[name])
    assert cases.good_arm_gains(cases.bandit(bound, [cases.arms(1.0, 0.0)], logs))


@pytest.mark.parametrize("name", ["sft", "superhf", "weak-to-strong"])
def test_the_arm_that_is_shown_gains(name: str) -> None:
    logs = torch.full((2,), -math.log(2), dtype=torch.float64)
    bound = bind(name, **OPTIONS[name])
    assert cases.good_arm_gains(cases.bandit(bound, [cases.arms(1.0, tokens=[0])], logs))


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("seed", SEEDS)
def test_laws_of_objectives(name: str, seed: int) -> None:
    check_objective(bind(name, **OPTIONS[name]), seed=seed)
