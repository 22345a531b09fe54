"""A demo that the tests of all modules share."""

import fcntl
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

DEMO = "backtalk demo --model writer --requests 300 --no-browser"
REQUESTS = 300
BIN = str(Path(sys.executable).parent)


@dataclass(frozen=True)
class SharedDemo:
    """Folder in which the demo command was run once."""

    folder: Path

    @property
    def output(self) -> str:
        """Standard output of the command."""
        return (self.folder / "output.txt").read_text(encoding="utf-8")

    def copy(self, folder: Path) -> Path:
        """Copy the files of the demo to a new folder, and return the path of the store."""
        shutil.copytree(self.folder / "demo", folder)
        return folder / "mail.db"


def make_demo(base: Path) -> SharedDemo:
    """Run the demo command in a folder that several processes share, if none did so before."""
    folder = base / "shared-demo"
    with (base / "shared-demo.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "output.txt").exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            _run_demo(folder)
    return SharedDemo(folder)


def _run_demo(folder: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("BACKTALK")}
    environment["PATH"] = os.pathsep.join([BIN, environment["PATH"]])
    done = subprocess.run(
        DEMO, shell=True, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{DEMO}\n{done.stdout}\n{done.stderr}"
    (folder / "output.txt").write_text(done.stdout, encoding="utf-8")
