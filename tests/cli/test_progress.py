"""Progress fits a terminal of 80 columns, and is a line a minute in pipes."""

import asyncio
import io
import re
import signal
import threading

import pytest
import typer
from rich.cells import cell_len
from rich.console import Console

from backtalk.cli import output
from backtalk.cli.main import stop_at_once
from backtalk.cli.progress import ProgressBars, ProgressLines, TaskProgress, clock, compact
from backtalk.run import Run

TRAINING = "loss 0.693, accuracy 0.55, margin 12.34"


class Clock:
    """Clock that a test sets."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def piped():
    time = Clock()
    lines = []
    progress = ProgressLines(lines.append, now=time)

    def at(seconds, *report):
        time.now = seconds
        progress(*report)

    return time, progress, lines, at


def test_a_task_in_a_pipe_has_a_line_a_minute(piped):
    _, _, lines, at = piped
    for second in range(301):
        at(float(second), "training", second, 3_000, TRAINING)
    assert [line.split(",")[0] for line in lines] == [
        f"training: {second} of 3" for second in (5, 65, 125, 185, 245)
    ]
    assert lines[1] == f"training: 65 of 3,000, 48 min left, {TRAINING}"
    assert max(map(len, lines)) <= 80


def test_a_short_task_in_a_pipe_has_no_line(piped):
    _, _, lines, at = piped
    at(0, "reading feedback", 0, None)
    at(4.9, "reading feedback", 100, 100)
    assert lines == []


def test_a_task_without_reports_has_lines_too(piped):
    time, progress, lines, at = piped
    at(0, "loading the model", 0, None)
    for time.now in (1, 6, 30, 66, 100):
        progress.write_due()
    assert lines == ["loading the model: 6 s so far", "loading the model: 1 min so far"]
    at(130, "loading the model", 0, 0)
    assert lines[-1] == "loading the model: done in 2 min"


def test_tasks_in_turn_share_the_line_a_minute_after_their_first(piped):
    _, _, lines, at = piped
    at(0, "answering", 0, 10)
    at(6, "answering", 1, 10)
    at(7, "sampling", 0, 5)
    at(12, "sampling", 2, 5)
    at(20, "sampling", 5, 5)
    at(30, "answering", 5, 10)
    assert [line.split(":")[0] for line in lines] == ["answering", "sampling", "sampling"]


def test_a_resumed_task_says_so_at_once(piped):
    _, _, lines, at = piped
    at(0, "training", 3, 9, "resumed at step 3 of 9")
    assert lines == ["training: resumed at step 3 of 9"]


def test_units_of_an_earlier_run_have_no_part_in_the_time_left():
    progress = TaskProgress("reference log-probabilities", 0.0)
    progress.update(0.0, 900_000, 1_000_000, "")
    assert progress.seconds_left(0.0) is None
    progress.update(10.0, 910_000, 1_000_000, "")
    assert progress.seconds_left(10.0) == pytest.approx(90)
    assert progress.seconds_left(20.0) == pytest.approx(80)


def test_the_time_left_follows_the_rate_of_the_last_minutes():
    """A burst at the start, such as of cached answers, does not count for ever."""
    progress = TaskProgress("answering", 0.0)
    progress.update(0.0, 0, 1_000, "")
    progress.update(1.0, 500, 1_000, "")
    for second in range(2, 400):
        progress.update(float(second), 500 + second // 4, 1_000, "")
    assert progress.seconds_left(399.0) == pytest.approx((1_000 - 599) * 4, rel=0.05)


@pytest.mark.parametrize("width", [80, 60, 40])
@pytest.mark.parametrize(
    ("task", "done", "total", "note"),
    [
        ("training", 123, 1_500, TRAINING),
        ("training", 0, 1_500, ""),
        ("reference log-probabilities", 1_234_567, 23_456_789, "12,345 tokens/s"),
        ("round 12: answering all prompts of the store", 5, None, "x" * 200),
        ("тренировка " * 9, 99_999, 100_000, "損失 0.1, " * 20),
    ],
)
def test_a_bar_is_one_line_of_the_terminal(width, task, done, total, note):
    screen = io.StringIO()
    console = Console(file=screen, width=width, force_terminal=True, soft_wrap=True)
    bars = ProgressBars(console)
    bars(task, done, total, note)
    console.print(bars.render())
    (shown, _) = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in screen.getvalue().split("\n")][
        -2:
    ]
    assert 0 < cell_len(shown) <= width
    if width == 80 and note == TRAINING:
        assert shown.startswith("training ")
        assert shown.rstrip().endswith(f"123/1,500 ETA -:-- {TRAINING}")


def test_a_finished_task_has_no_bar():
    console = Console(file=io.StringIO(), width=80, force_terminal=True)
    bars = ProgressBars(console)
    bars("training", 1, 2)
    assert len(bars.render().renderables) == 1
    bars("training", 2, 2)
    assert not bars.render().renderables


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (9_999, "9,999"), (10_000, "10k"), (12_345, "12.3k"), (999_499, "999k"),
     (999_999, "1M"), (2_345_678, "2.35M"), (5_000_000_000, "5G")],
)  # fmt: skip
def test_counts_are_short(number, text):
    assert compact(number) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "0:00"), (59.7, "1:00"), (3_600, "1:00:00"), (90_061, "25:01:01")]
)
def test_times_are_hours_minutes_and_seconds(seconds, text):
    assert clock(seconds) == text


def test_ctrl_c_says_where_a_command_stopped_and_how_to_go_on(tmp_path, monkeypatch):
    lines = []
    monkeypatch.setattr(output, "note", lines.append)

    def train():
        with (
            output.progress_bars() as progress,
            Run(tmp_path / "run", progress=progress) as run,
            run.task("training", 9) as step,
        ):
            step(3)
            raise KeyboardInterrupt

    with pytest.raises(typer.Exit) as stop:
        train()
    assert stop.value.exit_code == 130
    assert lines == [
        "Stopped during training, at 3 of 9.",
        f"Its state is in {tmp_path / 'run'}",
        "Give the same command again to go on: finished work is not repeated.",
    ]


def test_a_run_reports_what_an_earlier_one_did():
    reports = []
    run = Run(progress=lambda *report: reports.append(report))
    with run.task("training", 9, done=3, note="resumed at step 3 of 9") as step:
        step(4, "loss 0.5")
    assert reports == [
        ("training", 3, 9, "resumed at step 3 of 9"),
        ("training", 4, 9, "loss 0.5"),
        ("training", 9, 9),
    ]


def test_ctrl_c_stops_training_under_an_event_loop_at_once():
    previous = signal.getsignal(signal.SIGINT)
    finished = []

    async def train():
        signal.raise_signal(signal.SIGINT)
        finished.append(True)

    try:
        stop_at_once()
        with pytest.raises(KeyboardInterrupt):
            asyncio.run(train())
    finally:
        signal.signal(signal.SIGINT, previous)
    assert not finished


def test_results_are_printed_above_the_bars(monkeypatch):
    screen = io.StringIO()
    terminal = Console(file=screen, width=80, force_terminal=True, soft_wrap=True)
    monkeypatch.setattr(output, "notes", terminal)
    monkeypatch.setattr(output, "results", terminal)
    with output.progress_bars() as progress:
        progress("training", 1, 9, TRAINING)
        output.say("ok      first loss of dpo")
        progress("training", 2, 9, TRAINING)
        output.say_table(("name",), [("beta",)])
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.getvalue())
    lines = [line.rstrip() for line in re.split(r"[\r\n]+", text)]
    assert {"ok      first loss of dpo", "name", "beta"} <= set(lines)
    assert any(line.startswith("training ") and line.endswith(TRAINING) for line in lines)
    assert max(map(len, lines)) <= 80


def test_a_thread_of_lines_ends_with_the_command(monkeypatch):
    lines = []
    monkeypatch.setattr(output, "note", lines.append)
    with output.progress_bars() as progress:
        progress("training", 1, 9)
        assert any(thread.name == "progress" for thread in threading.enumerate())
    assert not any(thread.name == "progress" for thread in threading.enumerate())
    assert lines == []


def test_names_between_colons_are_printed_as_they_are(capsys):
    text = "judging by llm:m: 0 of 4, said :smile:"
    output.say(text)
    output.say_table(("judge",), [(text,)])
    output.note(text)
    shown = capsys.readouterr()
    assert (shown.out.count(text), shown.err.count(text)) == (2, 1)
