"""Second process that reads the rows of a large import, while the first one inserts them.

It is a new interpreter and not a copy of this process, so that threads, connections and a script
without ``if __name__ == "__main__"`` do no harm. It writes pickled messages to a pipe. A few are
queued, so that it reads on during a commit; then it waits until the rows before are inserted.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import pickle
import struct
import subprocess
import sys
import traceback
from collections.abc import Iterator
from queue import Empty, Queue
from threading import Thread
from typing import IO, Any, NamedTuple

from backtalk.closable import Closable
from backtalk.errors import BacktalkError
from backtalk.formats.format import FORMATS, Format
from backtalk.formats.import_parts import ImportPart, ImportRequest, read_parts
from backtalk.formats.readers import Progress
from backtalk.formats.unusual import Unusual

MIN_BYTES = 16 << 20
"""Size, in bytes, from which an input is read in a process of its own."""

_HEAD = struct.Struct("<Q")
_PIPE_BYTES = 1 << 20
_GC_THRESHOLD = 200_000
"""Number of new containers after which garbage is collected; those of a part are no garbage."""
_MAX_QUEUED = 8
"""Maximum number of messages in the queue."""
_PROGRAM = "from backtalk.formats.reading_process import run; run()"


class _Message(NamedTuple):
    """Part of the input with the progress so far, the end of the input, or an error."""

    part: ImportPart | None = None
    progress: tuple[int, int | None] | None = None
    unusual: Unusual | None = None
    error: BaseException | None = None


def is_suitable(request: ImportRequest) -> bool:
    """Return true if a second process reads an input faster, and is able to.

    Standard input is not passed on, nor is a ``Format`` object.
    """
    return (
        os.name == "posix"
        and bool(sys.executable)
        and not getattr(sys, "frozen", False)
        and not request.is_stdin
        and not isinstance(request.format, Format)
        and _processor_count() > 1
        and request.size() >= MIN_BYTES
    )


def _processor_count() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _known_formats() -> list[tuple[str, str]]:
    """Return the name and the origin of each format, to compare those of two processes."""
    return sorted((item.name, _origin(item.parse)) for item in FORMATS.values())


def _origin(function: Any) -> str:
    return f"{getattr(function, '__module__', '')}.{getattr(function, '__qualname__', '')}"


class ReadingProcess(Closable):
    """Process that reads an input.

    Parameters
    ----------
    process : subprocess.Popen
        The process.
    request : ImportRequest
        Input.
    """

    def __init__(self, process: subprocess.Popen[bytes], request: ImportRequest) -> None:
        self._process = process
        self._path = request.path
        self._messages: Queue[bytes | bytearray] = Queue(_MAX_QUEUED)
        self._next: bytes | bytearray | None = None
        self._receiver = Thread(target=self._receive_all, daemon=True)
        self._receiver.start()

    @classmethod
    def start(cls, request: ImportRequest) -> ReadingProcess | None:
        """Start a process, ``None`` if it cannot read the input as this process can.

        That is the case if the options cannot be pickled, or if a format was registered in this
        process only, such as in a notebook.
        """
        try:
            message = pickle.dumps((request, _known_formats()))
            process = subprocess.Popen(  # noqa: S603 - this interpreter
                [sys.executable, "-c", f"import sys; sys.path[:] = {sys.path!r}; {_PROGRAM}"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                bufsize=0,
                env={"ARROW_DEFAULT_MEMORY_POOL": "system", **os.environ},  # it keeps less memory
                process_group=0,  # Ctrl-C interrupts this process, which ends the other one
            )
        except (OSError, TypeError, AttributeError, pickle.PicklingError):
            return None
        reader = cls(process, request)
        try:
            if reader._send(message) and reader._receive() is True:
                return reader
        except BaseException:
            reader.close()
            raise
        reader.close()
        return None

    def parts(self, unusual: Unusual, progress: Progress | None) -> Iterator[ImportPart]:
        """Yield the parts of the input; see :func:`~backtalk.formats.import_parts.read_parts`.

        Parameters
        ----------
        unusual : Unusual
            Counts of unusual content, to which that of the input is added at the end.
        progress : callable or None
            Called with the number of bytes read and the total.

        Raises
        ------
        BacktalkError
            If there is nothing to read, the format is not known, or the process was ended.
        """
        while True:
            message = self._receive()
            if not isinstance(message, _Message):
                raise self._ended_early()
            if message.error is not None:
                raise message.error
            if progress is not None and message.progress is not None:
                progress(*message.progress)
            if message.part is not None:
                yield message.part
            if message.unusual is not None:
                unusual.merge(message.unusual)
                return

    def is_ready(self, seconds: float) -> bool:
        """Return true if the next part arrives within some time, in seconds."""
        if self._next is None:
            with contextlib.suppress(Empty):
                self._next = self._messages.get(timeout=seconds)
        return self._next is not None

    def close(self) -> None:
        """End the process, if it runs."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        while self._receiver.is_alive():
            with contextlib.suppress(Empty):
                self._messages.get(timeout=0.01)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

    def _receive_all(self) -> None:
        """Queue messages, and an empty one at the end of the pipe."""
        pipe = _pipe(self._process.stdout)
        try:
            while head := _read(pipe, _HEAD.size):
                message = _read(pipe, _HEAD.unpack(head)[0])
                if message is None:
                    break
                self._messages.put(message)
        finally:
            self._messages.put(b"")

    def _receive(self) -> Any:
        """Return the next message, ``None`` if the process ended."""
        message = self._messages.get() if self._next is None else self._next
        self._next = None
        return pickle.loads(message) if message else None  # noqa: S301 - of our own process

    def _send(self, message: bytes) -> bool:
        stdin = _pipe(self._process.stdin)
        try:
            stdin.write(message)
            stdin.close()
        except BrokenPipeError:
            return False
        return True

    def _ended_early(self) -> BacktalkError:
        code = self._process.wait()
        how = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
        return BacktalkError(
            f"The process that reads {self._path} {how}",
            "Import it again: what was stored so far is kept, and is not added twice",
        )


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None
    return pipe


def _read(pipe: IO[bytes], size: int) -> bytearray | None:
    """Return a number of bytes, ``None`` if there are fewer."""
    data = bytearray(size)
    view = memoryview(data)
    while view:
        count = pipe.readinto(view)  # type: ignore[attr-defined]
        if not count:
            return None
        view = view[count:]
    return data


def run() -> None:
    """Read the input that standard input names, and write its parts to standard output."""
    # What a format prints must not get between the messages.
    output = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    _enlarge(output.fileno())
    gc.set_threshold(_GC_THRESHOLD)
    logging.getLogger("backtalk.registry").disabled = True  # the first process has warned already
    request, formats = pickle.loads(sys.stdin.buffer.read())  # noqa: S301 - of our own process
    try:
        suitable = _known_formats() == formats
        _write(output, suitable)
        if suitable:
            for message in _messages(request):
                _write(output, message)
    except BrokenPipeError:
        os._exit(1)  # the import was interrupted


def _messages(request: ImportRequest) -> Iterator[_Message]:
    unusual = Unusual()
    progress: list[tuple[int, int | None]] = []

    def report(done: int, total: int | None) -> None:
        progress[:] = [(done, total)]

    try:
        with unusual.collect_notes():
            for part in read_parts(request, unusual, report):
                yield _Message(part=part, progress=progress[0] if progress else None)
    except Exception as error:  # noqa: BLE001 - raised again in the first process
        yield _Message(error=_portable(error))
    else:
        yield _Message(progress=progress[0] if progress else None, unusual=unusual)


def _portable(error: Exception) -> Exception:
    """Return an error that can be pickled; an unexpected one has its traceback as a note."""
    if not isinstance(error, BacktalkError):
        error.add_note("".join(traceback.format_exception(error)).rstrip())
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 - just made
    except Exception:  # noqa: BLE001 - whatever its class does
        return RuntimeError("".join(traceback.format_exception(error)))
    return error


def _write(output: IO[bytes], message: Any) -> None:
    body = pickle.dumps(message, protocol=5)
    for data in (_HEAD.pack(len(body)), body):
        view = memoryview(data)
        while view:
            view = view[output.write(view) :]


def _enlarge(descriptor: int) -> None:
    """Let a pipe hold a whole part, where the system allows it."""
    import fcntl  # noqa: PLC0415 - not on Windows

    if hasattr(fcntl, "F_SETPIPE_SZ"):
        with contextlib.suppress(OSError):
            fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
