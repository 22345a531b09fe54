"""Environments of the peers: one virtual environment each, made when it is first needed."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(os.environ.get("BACKTALK_PEERS", Path.home() / ".cache" / "backtalk-peers"))
"""Folder of the environments."""
RUNS = Path(__file__).parent / "runs"


@dataclass(frozen=True)
class Peer:
    """Optimiser of another project."""

    label: str
    """Name and version."""
    script: str
    """Name of its script, without ``.py``."""
    packages: tuple[str, ...]

    @property
    def python(self) -> Path:
        """Interpreter of its environment, which is made if it does not exist."""
        folder = FOLDER / "-".join(self.packages).replace("[", "-").replace("]", "")
        python = folder / "bin" / "python"
        if not (folder / "ready").exists():
            subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
            subprocess.run(
                [str(python), "-m", "pip", "install", "--quiet", *self.packages], check=True
            )
            (folder / "ready").touch()
        return python


GEPA = Peer("GEPA 0.1.4", "gepa_run", ("gepa==0.1.4",))
SKILLOPT = Peer("SkillOpt 0.2.0", "skillopt_run", ("skillopt==0.2.0",))
PEERS = (
    GEPA,
    Peer("DSPy 3.4.1, MIPROv2", "mipro_run", ("dspy[optuna]==3.4.1",)),
    SKILLOPT,
    Peer("TextGrad 0.1.8", "textgrad_run", ("textgrad==0.1.8",)),
    Peer("Trace 0.1.3.8, OptoPrime", "trace_run", ("trace-opt==0.1.3.8",)),
)

MEMORY_PEERS = (
    Peer("mem0 2.2.1", "mem0_run", ("mem0ai==2.2.1",)),
    Peer("langmem 0.0.30", "langmem_run", ("langmem==0.0.30", "langchain-openai==1.7.4")),
)
"""Memories of other projects."""
