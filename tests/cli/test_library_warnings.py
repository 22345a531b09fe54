"""Warnings of other libraries are in a log file; those of Backtalk are on the screen."""

import logging
import os
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import logging, sys, warnings
from pathlib import Path
from backtalk.cli.library_warnings import hide_library_warnings, log_library_warnings
hide_library_warnings()
with log_library_warnings(Path(sys.argv[1])):
    from transformers.utils import logging as transformers_logging
    from huggingface_hub.utils import logging as hub_logging
    transformers_logging.get_logger("transformers.models.auto").warning("of transformers")
    hub_logging.get_logger("huggingface_hub.file_download").warning("of the hub")
    warnings.warn("of Python", FutureWarning)
    logging.getLogger("peft.tuners").warning("of peft")
    logging.getLogger("backtalk.store").warning("our own")
    logging.getLogger("asyncio").error("a failure")
logging.getLogger("peft.tuners").warning("after the command")
"""


def test_only_own_warnings_and_errors_are_on_the_screen(tmp_path):
    folder = tmp_path / "feedback.runs"
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, folder], check=True, capture_output=True, text=True,
        cwd=Path(__file__).parent.parent.parent,
        env={**os.environ, "PYTHONWARNINGS": "default", "HF_HUB_OFFLINE": "1"},
    )  # fmt: skip
    assert done.stderr.splitlines() == ["our own", "a failure"]
    assert done.stdout == ""
    logged = (folder / "warnings.log").read_text()
    for text in ("of transformers", "of the hub", "of Python", "of peft"):
        assert logged.count(text) >= 1
    assert "our own" not in logged
    assert "after the command" not in logged


def test_no_file_is_made_without_a_warning(tmp_path):
    from backtalk.cli.library_warnings import log_library_warnings

    with log_library_warnings(tmp_path / "feedback.runs"):
        logging.getLogger("backtalk.store").warning("our own")
    assert not list(tmp_path.iterdir())
