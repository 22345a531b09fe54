"""Reader of inspect_ai's ``.eval`` logs: a ZIP archive with one JSON file per sample.

Each sample becomes one row, in the layout of inspect_ai's JSON logs with one sample:
``{"eval": …, "samples": […]}``.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO

from pydantic_core import from_json

from backtalk.formats.readers.arrow import nan_to_null
from backtalk.formats.readers.row import RejectedRow, Row

_HEADERS = ("header.json", "_journal/start.json")
"""Files with the description of the run; an unfinished log has only the second."""
_SAMPLES = "samples/"
_ZSTANDARD = 93
"""Compression of ZIP archives that ``zipfile`` reads from Python 3.14 on."""
_LOCAL_HEADER_BYTES = 30
_ENCRYPTED = 1


def inspect_log_rows(stream: BinaryIO, source: str) -> Iterator[Row | RejectedRow]:
    """Yield the samples of a log, one at a time, numbered from 1.

    The events of a sample are left out.
    """
    if not stream.seekable():
        stream = io.BytesIO(stream.read())
    try:
        with zipfile.ZipFile(stream) as archive:
            yield from _samples(archive, stream, source)
    except zipfile.BadZipFile as error:
        yield RejectedRow(source, 0, f"not an .eval log: {error}", "")


def _samples(
    archive: zipfile.ZipFile, stream: BinaryIO, source: str
) -> Iterator[Row | RejectedRow]:
    header = next((name for name in _HEADERS if name in archive.NameToInfo), None)
    if header is None:
        yield RejectedRow(source, 0, "not an .eval log: the archive has no header.json", "")
        return
    try:
        log = _read_json(archive, stream, header)
        shared: dict[str, Any] = {name: log[name] for name in ("version", "status") if name in log}
        run = log.get("eval")
        shared["eval"] = _without(run, "dataset", "model_args") if isinstance(run, dict) else run
    except (ValueError, KeyError, AttributeError) as error:
        problem = (
            "it does not describe an evaluation" if not isinstance(error, ValueError) else error
        )
        yield RejectedRow(source, 0, f"{header}: {problem}", "")
        return
    names = [name for name in archive.NameToInfo if name.startswith(_SAMPLES)]
    if not names:
        yield RejectedRow(source, 0, "the log has no samples", "")
    for number, name in enumerate(names, 1):
        try:
            sample = _read_json(archive, stream, name)
        except ValueError as error:
            yield RejectedRow(source, number, f"{name}: {error}", "")
        else:
            yield Row(source, number, {**shared, "samples": [sample]})


def _without(data: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in data.items() if name not in names}


def _read_json(archive: zipfile.ZipFile, stream: BinaryIO, name: str) -> dict[str, Any]:
    """Return the content of an entry without events; NaN, which stands for no score, is null."""
    data = from_json(_read_entry(archive, stream, archive.NameToInfo[name]))
    if not isinstance(data, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004 - as for text that is not JSON
    content = _without(data, "events", "events_data", "timelines", "store")
    return {key: nan_to_null(value) for key, value in content.items()}


def _read_entry(archive: zipfile.ZipFile, stream: BinaryIO, entry: zipfile.ZipInfo) -> bytes:
    try:
        if entry.compress_type != _ZSTANDARD:
            return archive.read(entry)
        content = _decompress(stream, entry)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, zlib.error) as error:
        raise ValueError(f"damaged: {error}") from None
    if zlib.crc32(content) != entry.CRC:
        raise ValueError("damaged: the checksum is wrong")
    return content


def _decompress(stream: BinaryIO, entry: zipfile.ZipInfo) -> bytes:
    import zstandard  # noqa: PLC0415 - only needed for such files

    if entry.flag_bits & _ENCRYPTED:
        raise RuntimeError("it is encrypted")
    stream.seek(entry.header_offset)
    local_header = stream.read(_LOCAL_HEADER_BYTES)
    if not local_header.startswith(b"PK\x03\x04") or len(local_header) < _LOCAL_HEADER_BYTES:
        raise zipfile.BadZipFile("there is no file at its offset")
    name_bytes, extra_bytes = (int.from_bytes(local_header[i : i + 2], "little") for i in (26, 28))
    stream.seek(entry.header_offset + _LOCAL_HEADER_BYTES + name_bytes + extra_bytes)
    compressed = io.BytesIO(stream.read(entry.compress_size))
    try:
        reader = zstandard.ZstdDecompressor().stream_reader(compressed, read_across_frames=True)
        return reader.read()
    except zstandard.ZstdError as error:
        raise zipfile.BadZipFile(str(error)) from None
