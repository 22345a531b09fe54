"""Fixtures and settings of all tests."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.demos import SharedDemo, make_demo

# The models of the tests are so small that further threads would only wait for each other. The
# processes that tests start inherit the variables.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

settings.register_profile(
    "default", deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("default")

REPOSITORY = Path(__file__).resolve().parent.parent

SLOW_FILES = (
    "tests/stats/test_coverage.py",
    "tests/test_docs.py",
    "tests/worlds/test_small.py",
    "tests/test_demo.py",
    "tests/test_first_steps.py",
    "tests/cli/test_cli.py",
    "tests/learn/finetune/test_trainer.py",
    "tests/store/test_durability.py",
)
"""Test files with the longest durations."""


def pytest_configure(config: pytest.Config) -> None:
    """Schedule files in the order of collection, not by their number of tests."""
    config.option.loadscopereorder = False


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run slow files first, so that the workers finish at about the same time."""
    positions = {REPOSITORY / name: index for index, name in enumerate(SLOW_FILES)}
    items.sort(key=lambda item: positions.get(item.path, len(positions)))


@pytest.fixture(scope="session")
def shared_demo(tmp_path_factory: pytest.TempPathFactory) -> SharedDemo:
    """Demo of the mail world, made once for all workers: copy it, do not change it."""
    base = tmp_path_factory.getbasetemp()
    return make_demo(base.parent if "PYTEST_XDIST_WORKER" in os.environ else base)


@pytest.fixture(scope="session")
def data() -> Path:
    """Folder of real feedback; tests that need it are skipped if it is absent."""
    folder = Path(os.environ.get("BACKTALK_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"the real feedback is not at {folder}; set BACKTALK_DATA to its folder")
    return folder


@pytest.fixture(scope="session")
def smollm2() -> str:
    """Name of the real model; tests that need it are skipped if it has not been fetched."""
    from backtalk.models.fetched import fetched_models

    if "smollm2" not in fetched_models():
        pytest.skip("the real model is not here; bring it with `backtalk models fetch smollm2`")
    return "smollm2"
