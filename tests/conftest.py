"""What all tests share."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

if "PYTEST_XDIST_WORKER" in os.environ:
    # Several workers with as many threads each as there are cores would only wait for each other.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

settings.register_profile(
    "default", deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("default")

REPOSITORY = Path(__file__).resolve().parent.parent

LONG = (
    "tests/stats/test_coverage.py",
    "tests/test_docs.py",
    "tests/worlds/test_small.py",
    "tests/test_demo.py",
    "tests/test_first_steps.py",
    "tests/cli/test_cli.py",
    "tests/learn/finetune/test_trainer.py",
    "tests/store/test_durability.py",
)
"""The files that take longest."""


def pytest_configure(config: pytest.Config) -> None:
    """Hand files to workers in the order of collection, not those of the most tests first."""
    config.option.loadscopereorder = False


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes long, so that in the end no worker waits for another one."""
    places = {REPOSITORY / name: index for index, name in enumerate(LONG)}
    items.sort(key=lambda item: places.get(item.path, len(places)))


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real feedback; a test that needs it is skipped where it is absent."""
    folder = Path(os.environ.get("BACKTALK_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"the real feedback is not at {folder}; set BACKTALK_DATA to where it is")
    return folder
