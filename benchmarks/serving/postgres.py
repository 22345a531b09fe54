"""Temporary PostgreSQL server on a Unix socket, with durable writes."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil  # type: ignore[import-untyped]
from sqlalchemy import create_engine, text


@dataclass(frozen=True)
class Postgres:
    """Running server."""

    folder: Path
    control: tuple[str, ...]

    def url(self, database: str = "postgres") -> str:
        """Return the URL of a database."""
        return f"postgresql://tester@/{database}?host={self.folder}"

    def make(self, database: str) -> str:
        """Create a database and return its URL."""
        location = self.url().replace("postgresql://", "postgresql+psycopg://")
        engine = create_engine(location, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {database}"))
        engine.dispose()
        return self.url(database)

    def crash(self) -> None:
        """Stop the server as a power failure would, and start it again."""
        _run(*self.control, "-m", "immediate", "restart")

    def cpu(self) -> float:
        """Return the CPU seconds of its processes, including terminated ones."""
        main = psutil.Process(int((self.folder / "data" / "postmaster.pid").read_text().split()[0]))
        living = [main, *main.children(recursive=True)]
        return float(sum(sum(process.cpu_times()[:4]) for process in living))


def programs() -> Path | None:
    """Return the folder of the server programs, ``None`` if they are not installed."""
    if path := shutil.which("initdb"):
        return Path(path).resolve().parent
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return installed[-1].parent if installed else None


@contextmanager
def postgres() -> Iterator[Postgres]:
    """Run a server for the duration of the block.

    Raises
    ------
    RuntimeError
        If the server programs are not installed.
    """
    path = programs()
    if path is None:
        raise RuntimeError("PostgreSQL's server programs are not installed (no initdb found)")
    folder = Path(tempfile.mkdtemp(prefix="backtalk-pg-"))
    as_user: Sequence[str] = ()
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres", "postgres")
        as_user = ("runuser", "-u", "postgres", "--")
    data = str(folder / "data")
    _run(*as_user, str(path / "initdb"), "-D", data, "-U", "tester", "-A", "trust")
    options = f"-c listen_addresses='' -c unix_socket_directories={folder}"
    control = (*as_user, str(path / "pg_ctl"), "-D", data, "-w", "-l", str(folder / "log"))
    control = (*control, "-o", options)
    server = Postgres(folder, control)
    _run(*control, "start")
    try:
        yield server
    finally:
        _run(*control, "-m", "immediate", "stop")
        shutil.rmtree(folder, ignore_errors=True)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd="/")
