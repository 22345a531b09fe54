"""What was acknowledged is there after the writer was killed, once."""

import multiprocessing
import os
import random
import signal
import time

from backtalk.feedback import Annotator, Interaction, Label
from backtalk.feedback.case import Case
from backtalk.store import Store

KILLS = 100
ADA = Annotator.human("ada")


def record(number):
    interaction = Interaction.of(f"Question {number}", "Yes.").model_copy(
        update={"id": f"talk-{number}"}
    )
    thumb = Label(
        id=f"thumb-{number}", interaction=interaction.id, annotator=ADA, response="0", good=True
    )
    return interaction, thumb


def write_for_ever(location, first, acknowledged):
    """Add one record after the other, and say of each that it was added."""
    number = first
    with Store(location) as store:
        while True:
            store.add(*record(number))
            os.write(acknowledged, b"%d\n" % number)
            number += 1


def test_a_write_that_was_acknowledged_survives_a_hundred_kills(location):
    Store(location).close()
    rng = random.Random(7)
    processes = multiprocessing.get_context("fork")
    acknowledged: list[int] = []
    first = 0
    for _ in range(KILLS):
        reader, writer = os.pipe()
        child = processes.Process(target=write_for_ever, args=(location, first, writer))
        child.start()
        os.close(writer)
        said = os.read(reader, 64)
        time.sleep(rng.uniform(0, 0.02))
        os.kill(child.pid, signal.SIGKILL)
        child.join()
        while more := os.read(reader, 65536):
            said += more
        os.close(reader)
        numbers = [int(line) for line in said.split(b"\n")[:-1]]
        acknowledged += numbers
        # The write that was under way may be there or not: the next one starts past it.
        first = numbers[-1] + 2

    with Store(location) as store:
        kept = [int(case.interaction.id.removeprefix("talk-")) for case in store.cases()]
        thumbs = [item.id for item in store.feedback()]
        whole = all(len(case.feedback) == 1 for case in store.cases())
    assert len(acknowledged) >= KILLS
    assert set(acknowledged) <= set(kept)
    assert len(kept) == len(set(kept)) == len(thumbs) == len(set(thumbs))
    assert len(kept) <= len(acknowledged) + KILLS
    assert whole


def add_some(location, start, step):
    with Store(location) as store:
        for number in range(start, 200, step):
            store.add(*record(number))
        store.add_cases(
            [Case(interaction, (thumb,)) for interaction, thumb in map(record, range(200, 300))]
        )


def test_writers_at_the_same_time_lose_nothing_and_double_nothing(location):
    processes = multiprocessing.get_context("fork")
    writers = [processes.Process(target=add_some, args=(location, i, 3)) for i in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    with Store(location) as store:
        assert sorted(case.interaction.id for case in store.cases()) == sorted(
            f"talk-{i}" for i in range(300)
        )
        assert store.counts() == {"interaction": 300, "label": 300}
