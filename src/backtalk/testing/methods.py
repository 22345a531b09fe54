"""Properties of methods."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from backtalk.errors import BacktalkError, UnknownName
from backtalk.learn import METHODS, Method, TrainingSet
from backtalk.models.run_sync import run_sync
from backtalk.policy import Policy
from backtalk.run import Run
from backtalk.store import Store


def check_method(method: Method, policy: Policy, store: Store, **options: Any) -> Policy:
    """Check the documentation of a method, its determinism and its lineage; return a policy.

    Parameters
    ----------
    method : Method
        Registered method to check.
    policy : Policy
        Policy to improve.
    store : Store
        Store with feedback that the method can learn from.
    **options : Any
        Options of the method.
    """
    assert METHODS.get(method.name) is method
    about = method.describe()
    assert about.summary.endswith(".")
    assert about.paper.title
    assert about.kinds
    for option in about.options:
        assert option.meaning, f"the option {option.name} is not documented"
    unknown = _error_of(lambda: method.read_options({"no such option": 1}))
    assert isinstance(unknown, UnknownName), "an unknown option is accepted"

    def learn(seed: int) -> Policy:
        with Run(seed=seed) as run:
            return run_sync(method.learn(policy, TrainingSet(store), run, **options))

    learned = learn(1)
    assert learned == learn(1), "the same seed must give the same policy"
    assert learned.id != policy.id
    assert learned.lineage.parent == policy.id
    assert learned.lineage.method == method.name
    with Store(":memory:") as empty, Run() as run:
        error = _error_of(
            lambda: run_sync(method.learn(policy, TrainingSet(empty), run, **options))
        )
        assert isinstance(error, BacktalkError), "learning from an empty store is not an error"
        assert error.mend, "the error of an empty store names no mend"
    return learned


def _error_of(call: Callable[[], object]) -> BacktalkError | None:
    try:
        call()
    except BacktalkError as error:
        return error
    return None


class MethodLaws:
    """Tests of a method: subclass it in a test module and implement the first three methods."""

    def method(self) -> Method:
        """Return the registered method."""
        raise NotImplementedError

    def policy(self) -> Policy:
        """Return the policy to improve."""
        raise NotImplementedError

    def store(self) -> Store:
        """Return a store with feedback that the method can learn from."""
        raise NotImplementedError

    def options(self) -> dict[str, Any]:
        """Return options that make the method fast."""
        return {}

    def test_laws_of_methods(self) -> None:
        """Check the method."""
        with self.store() as store:
            check_method(self.method(), self.policy(), store, **self.options())
