"""Log lines reach standard error soon, in order, also in a forked process."""

import json
import subprocess
import sys

PROGRAM = """
import logging, logging.config, os, time
from backtalk.serve.observability.logs import log_config
logging.config.dictConfig(log_config())
log = logging.getLogger("backtalk.serve.access")
log.info("one %s", 1, extra={"fields": {"status": 200}})
time.sleep(0.5)
if os.fork() == 0:
    log.info("two")
    time.sleep(0.5)
    os._exit(0)
os.wait()
for number in range(3, 50):
    log.info(str(number))
log.warning("last")
os._exit(0)
"""


def test_lines_are_written_soon_and_in_order():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], stderr=subprocess.PIPE, text=True, check=True
    )
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [line["message"] for line in lines] == [
        "one 1", "two", *map(str, range(3, 50)), "last"
    ]  # fmt: skip
    assert (lines[0]["status"], lines[0]["level"], lines[-1]["level"]) == (200, "info", "warning")
