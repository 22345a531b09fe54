"""Durability: acknowledged records are stored once, even if the writer is killed."""

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


def make_records(number):
    interaction = Interaction.of(f"Question {number}", "Yes.").model_copy(
        update={"id": f"talk-{number}"}
    )
    thumb = Label(
        id=f"thumb-{number}", interaction=interaction.id, annotator=ADA, response="0", good=True
    )
    return interaction, thumb


def add_records_endlessly(location, first, acknowledged):
    """Add records one by one, and acknowledge each to a file descriptor."""
    number = first
    with Store(location) as store:
        while True:
            store.add(*make_records(number))
            os.write(acknowledged, b"%d\n" % number)
            number += 1


def test_acknowledged_writes_survive_a_hundred_kills(location):
    Store(location).close()
    rng = random.Random(7)
    context = multiprocessing.get_context("fork")
    acknowledged: list[int] = []
    first = 0
    for _ in range(KILLS):
        read_end, write_end = os.pipe()
        child = context.Process(target=add_records_endlessly, args=(location, first, write_end))
        child.start()
        os.close(write_end)
        output = os.read(read_end, 64)
        time.sleep(rng.uniform(0, 0.02))
        os.kill(child.pid, signal.SIGKILL)
        child.join()
        while more := os.read(read_end, 65536):
            output += more
        os.close(read_end)
        numbers = [int(line) for line in output.split(b"\n")[:-1]]
        acknowledged += numbers
        # The interrupted write may have been stored or not; the next number is after it.
        first = numbers[-1] + 2

    with Store(location) as store:
        stored = [int(case.interaction.id.removeprefix("talk-")) for case in store.cases()]
        thumbs = [item.id for item in store.feedback()]
        complete = all(len(case.feedback) == 1 for case in store.cases())
    assert len(acknowledged) >= KILLS
    assert set(acknowledged) <= set(stored)
    assert len(stored) == len(set(stored)) == len(thumbs) == len(set(thumbs))
    assert len(stored) <= len(acknowledged) + KILLS
    assert complete


def add_records(location, start, step):
    with Store(location) as store:
        for number in range(start, 200, step):
            store.add(*make_records(number))
        store.add_cases(
            [
                Case(interaction, (thumb,))
                for interaction, thumb in map(make_records, range(200, 300))
            ]
        )


def test_concurrent_writers_lose_and_duplicate_nothing(location):
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=add_records, args=(location, i, 3)) for i in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    with Store(location) as store:
        assert sorted(case.interaction.id for case in store.cases()) == sorted(
            f"talk-{i}" for i in range(300)
        )
        assert store.counts() == {"interaction": 300, "label": 300}
