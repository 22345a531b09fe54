"""Install the pinned torch into this environment: the CPU build where there is no GPU.

The package that a plain ``pip install torch`` takes on Linux brings gigabytes of CUDA with it.
"""

import importlib.metadata
import re
import shutil
import subprocess
import sys
from pathlib import Path

CONSTRAINTS = Path(__file__).parent.parent / "constraints.txt"


def pinned() -> str:
    """Return the version that the constraints pin."""
    found = re.search(r"^torch==(\S+)$", CONSTRAINTS.read_text(), re.MULTILINE)
    if found is None:
        sys.exit("constraints.txt pins no torch; run `make constraints`")
    return found[1]


def installed() -> str:
    """Return the version that is installed, without its build, or an empty string."""
    try:
        return importlib.metadata.version("torch").split("+")[0]
    except importlib.metadata.PackageNotFoundError:
        return ""


def has_gpu() -> bool:
    """Return whether this machine has an NVIDIA GPU with a driver."""
    return bool(shutil.which("nvidia-smi")) and run("nvidia-smi", "--list-gpus", quiet=True)


def run(*command: str, quiet: bool = False) -> bool:
    """Run a command and return whether it succeeded."""
    output = subprocess.DEVNULL if quiet else None
    return subprocess.run(command, check=False, stdout=output, stderr=output).returncode == 0


def install(version: str) -> bool:
    """Install torch and return whether that succeeded."""
    pip = (
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-compile",
        "--constraint",
        str(CONSTRAINTS),
    )
    if not sys.platform.startswith("linux") or has_gpu():
        return run(*pip, f"torch=={version}")
    if run(*pip, f"torch=={version}+cpu", quiet=True):
        return True
    uv = (sys.executable, "-m", "uv", "pip", "install", "--quiet", "--python", sys.executable)
    return run(*pip, "uv") and run(*uv, f"torch=={version}", "--torch-backend", "cpu")


if __name__ == "__main__":
    wanted = pinned()
    if installed() != wanted and not install(wanted):
        sys.exit(f"torch {wanted} could not be installed")
