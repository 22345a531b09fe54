"""Fixtures of stores in SQLite and, if its server is installed, in PostgreSQL."""

import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from backtalk.store import Store


def postgres_programs() -> Path | None:
    """Return the folder of PostgreSQL's server programs, ``None`` if they are not installed."""
    result = shutil.which("initdb")
    if result:
        return Path(result).resolve().parent
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return installed[-1].parent if installed else None


def as_server_user(folder: Path) -> list[str]:
    """Return the beginning of a command line that runs PostgreSQL, which root is not allowed to."""
    if os.geteuid() != 0:
        return []
    shutil.chown(folder, "postgres", "postgres")
    return ["runuser", "-u", "postgres", "--"]


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """URL of a temporary server, on a socket in a temporary folder."""
    program_folder = postgres_programs()
    if program_folder is None:
        pytest.skip("PostgreSQL's server programs are not installed (no initdb found)")
    folder = Path(tempfile.mkdtemp(prefix="backtalk-pg-"))
    run_as = as_server_user(folder)
    data = folder / "data"
    options = f"-c listen_addresses='' -c unix_socket_directories={folder} -c fsync=off"
    control = [*run_as, str(program_folder / "pg_ctl"), "-D", str(data), "-w"]
    subprocess.run(
        [*run_as, str(program_folder / "initdb"), "-D", str(data), "-U", "tester", "-A", "trust"],
        check=True,
        capture_output=True,
    )
    subprocess.run(
        [*control, "-o", options, "-l", str(folder / "log"), "start"],
        check=True,
        stdout=subprocess.DEVNULL,
        cwd=folder,
    )
    try:
        yield f"postgresql://tester@/postgres?host={folder}"
    finally:
        subprocess.run([*control, "-m", "immediate", "stop"], check=False, capture_output=True)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def postgres_database(postgres: str) -> Iterator[str]:
    """URL of a new, empty database."""
    name = f"t{uuid.uuid4().hex}"
    admin = create_engine(
        postgres.replace("postgresql://", "postgresql+psycopg://"), isolation_level="AUTOCOMMIT"
    )
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    yield postgres.replace("/postgres?", f"/{name}?")
    with admin.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    admin.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def location(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Location of a new store, in each database in turn."""
    if request.param == "sqlite":
        return str(tmp_path / "store.db")
    return str(request.getfixturevalue("postgres_database"))


@pytest.fixture
def store(location: str) -> Iterator[Store]:
    """Empty store, in each database in turn."""
    with Store(location) as opened:
        yield opened
