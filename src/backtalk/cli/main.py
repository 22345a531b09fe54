"""Entry point of the command line: runs a command and reports its errors."""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
from collections.abc import Sequence
from types import FrameType

import typer

from backtalk.cli.aliases import current_spelling
from backtalk.cli.commands import register
from backtalk.cli.exit_codes import ExitCode
from backtalk.cli.library_warnings import hide_library_warnings
from backtalk.cli.output import note, notes


def make_app(command: str | None = None) -> typer.Typer:
    """Return the app.

    Parameters
    ----------
    command : str, optional
        First argument of the command line. If it is a command, the app has this one only.
    """
    app = typer.Typer(
        name="backtalk",
        help="Learn from feedback on the answers of a language model.",
        no_args_is_help=True,
        rich_markup_mode="markdown",
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    )
    app.callback(
        epilog="Exit codes: 0 success, 1 error, 2 wrong usage, 3 import with rejected rows, "
        "4 promotion refused by the gate, 5 budget exceeded, 6 people have yet to judge, 7 no "
        "improvement, 70 bug, 130 stopped by Ctrl-C."
    )(_options)
    register(app, command)
    return app


def _show_version(value: bool) -> None:
    if value:
        from importlib.metadata import version

        typer.echo(f"backtalk {version('backtalk')}")
        raise typer.Exit


def _options(
    *,
    debug: bool = typer.Option(False, "--debug", help="Show the traceback of an error."),
    version: bool = typer.Option(
        False, "--version", help="Print the version.", callback=_show_version, is_eager=True
    ),
) -> None:
    """Learn from feedback on the answers of a language model."""
    # `main` handles `--debug`, which may stand anywhere, and the callback `--version`.
    del debug, version


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code; see :class:`~backtalk.cli.exit_codes.ExitCode`."""
    command_line = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in command_line or bool(os.environ.get("BACKTALK_DEBUG"))
    command_line, notice = current_spelling([one for one in command_line if one != "--debug"])
    if notice is not None:
        note(notice)
    hide_library_warnings()
    stop_at_once()
    try:
        make_app(next(iter(command_line), None))(command_line, prog_name="backtalk")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else ExitCode.DONE
    except Exception as error:  # noqa: BLE001 - the last place to report an error
        return _failed(error, debug=debug)
    return ExitCode.DONE


def stop_at_once() -> None:
    """Let Ctrl-C raise ``KeyboardInterrupt`` at once, also in training under an event loop.

    ``asyncio.run`` replaces the default handler by one that waits for the next ``await``, of which
    training has none. It leaves other handlers alone.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        del number, frame
        raise KeyboardInterrupt

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, stop)


def _failed(error: Exception, *, debug: bool) -> int:
    from backtalk.errors import BacktalkError
    from backtalk.evaluate.judges.pending import JudgementsPending
    from backtalk.learn.no_improvement import NoImprovement
    from backtalk.models import BudgetExceeded
    from backtalk.promotion import GateRefused

    if debug:
        traceback.print_exception(error)
    if not isinstance(error, BacktalkError):
        _say_error(
            f"{type(error).__name__}: {error}",
            "This is a bug: please report it, with the traceback that --debug shows",
        )
        return ExitCode.BUG
    if isinstance(error, JudgementsPending | NoImprovement):
        note(f"{error.what}. {error.mend}.")
        pending = isinstance(error, JudgementsPending)
        return ExitCode.PENDING if pending else ExitCode.NO_IMPROVEMENT
    _say_error(error.what, error.mend)
    if isinstance(error, GateRefused):
        return ExitCode.REFUSED
    return ExitCode.BUDGET if isinstance(error, BudgetExceeded) else ExitCode.ERROR


def _say_error(what: str, mend: str) -> None:
    notes.print("Error:", style="bold red", end=" ")
    notes.print(f"{what.rstrip('.')}.", markup=False)
    if mend:
        notes.print(f"       {mend.rstrip('.')}.", markup=False)
