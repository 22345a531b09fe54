"""Reception of an uploaded file as multipart/form-data, on disk rather than in memory."""

from __future__ import annotations

import asyncio
import mmap
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import HTTP
from pathlib import Path
from typing import cast

from starlette.requests import ClientDisconnect, Request

from backtalk.serve.content_encoding import (
    CONTENT_ENCODINGS,
    ContentDecoder,
    ContentEncodingError,
    find_decoder,
)
from backtalk.serve.errors import APIError

_CHUNK = 1 << 20
_SECONDS = re.compile(r"[0-9]{1,7}")
_MAX_PARTS = 20
_MAX_HEADERS = 10_000
_MAX_FIELD = 10_000
"""Maximum size of a form field that is not the file, in bytes."""


@dataclass
class Upload:
    """Form that was received."""

    body: Path
    """File with the whole body."""
    fields: dict[str, str] = field(default_factory=dict)
    """Fields by name, except the file."""
    filename: str | None = None
    """Name of the file; ``None`` if the form has none."""


async def receive(request: Request, folder: Path, *, max_bytes: int) -> Upload:
    """Receive a form, and write its field ``file`` to ``content`` in a folder.

    Parameters
    ----------
    request : Request
        Request with the form.
    folder : Path
        Folder for the body and for the file.
    max_bytes : int
        Maximum size of the body in bytes, with its content encoding and without it.

    Raises
    ------
    APIError
        If the body is no such form, or larger than the limit, or its encoding is unknown or
        damaged.
    """
    content_type = request.headers.get("content-type", "")
    boundary = _boundary(content_type)
    if not boundary:
        raise APIError(
            400,
            "Send the file as multipart/form-data with the fields file and purpose, as the openai "
            f"client does; the content type is {content_type or 'missing'!r}",
        )
    body = folder / "body"
    await _write_body(request, body, max_bytes)
    return await asyncio.to_thread(_parse, body, boundary, folder / "content")


def _boundary(content_type: str) -> bytes:
    message = EmailMessage()
    try:
        message["content-type"] = content_type
        if message.get_content_type() != "multipart/form-data":
            return b""
        return str(message.get_boundary("")).encode("latin-1")
    except (ValueError, IndexError):
        return b""


async def _write_body(request: Request, target: Path, max_bytes: int) -> None:
    """Write the body of a request to a file, without its content encoding."""
    declared = request.headers.get("content-length", "0")
    if declared.isascii() and declared.isdigit() and int(declared[:19]) > max_bytes:
        raise _too_large(max_bytes)
    encoding = request.headers.get("content-encoding")
    decoder = _find_decoder(encoding)
    received = 0
    try:
        with target.open("wb") as out:

            def write(part: bytes) -> None:
                for piece in (part,) if decoder is None else decoder.feed(part):
                    if out.tell() + len(piece) > max_bytes:
                        raise _too_large(max_bytes)
                    out.write(piece)

            async for part in request.stream():
                received += len(part)
                if received > max_bytes:
                    raise _too_large(max_bytes)
                await asyncio.to_thread(write, part)
        if decoder is not None:
            decoder.finish()
    except ClientDisconnect:
        raise APIError(400, "The client disconnected before its body was complete") from None
    except ContentEncodingError as error:
        raise APIError(400, f"The body is not encoded as {encoding!r}: {error}") from None


def _find_decoder(encoding: str | None) -> ContentDecoder | None:
    try:
        return find_decoder(encoding)
    except LookupError as error:
        known = ", ".join(CONTENT_ENCODINGS)
        raise APIError(
            415,
            f"The content encoding {error} is not supported. Send the form without it, or with one "
            f"of {known}",
            code="unsupported_content_encoding",
            headers={"accept-encoding": known},
        ) from None


def _too_large(max_bytes: int) -> APIError:
    return APIError(
        413,
        f"The body exceeds the limit of {max_bytes:,} bytes. Raise limits.endpoint_bytes and "
        "fine_tuning.max_file_bytes in the settings of the gateway",
        code="body_too_large",
        headers={"connection": "close"},
    )


def _parse(body: Path, boundary: bytes, target: Path) -> Upload:
    upload = Upload(body)
    with body.open("rb") as file:
        if not body.stat().st_size:
            raise _invalid("it is empty")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            for start, end in _parts(data, b"--" + boundary):
                _read_part(data, start, end, upload, target)
    return upload


def _parts(data: mmap.mmap, delimiter: bytes) -> Iterator[tuple[int, int]]:
    """Yield the first and the last position of each part, its headers included."""
    position = 0 if data[: len(delimiter)] == delimiter else data.find(b"\r\n" + delimiter) + 2
    if data[position : position + len(delimiter)] != delimiter:
        raise _invalid("it does not begin with its boundary")
    for _ in range(_MAX_PARTS):
        start = position + len(delimiter)
        if data[start : start + 2] == b"--":
            return
        line_end = data.find(b"\r\n", start)
        end = data.find(b"\r\n" + delimiter, line_end)
        if line_end < 0 or end < 0 or data[start:line_end].strip():
            raise _invalid("a part has no end")
        yield line_end + 2, end
        position = end + 2
    raise _invalid(f"it has more than {_MAX_PARTS} parts")


def _read_part(data: mmap.mmap, start: int, end: int, upload: Upload, target: Path) -> None:
    headers_end = data.find(b"\r\n\r\n", start - 2, end)
    if headers_end < 0 or headers_end - start > _MAX_HEADERS:
        raise _invalid("a part has no headers")
    headers = BytesParser(policy=HTTP).parsebytes(data[start : headers_end + 4], headersonly=True)
    name = cast("object", headers.get_param("name", None, "content-disposition"))
    if not isinstance(name, str):
        raise _invalid("a part has no name")
    start = headers_end + 4
    if name == "file":
        upload.filename = headers.get_filename() or "upload"
        _copy(data, start, end, target)
    elif end - start > _MAX_FIELD:
        raise APIError(400, f"The form field {name!r} is too long", param=name)
    else:
        upload.fields[name] = data[start:end].decode("utf-8", "replace")


def _copy(data: mmap.mmap, start: int, end: int, target: Path) -> None:
    with target.open("wb") as out:
        for position in range(start, end, _CHUNK):
            out.write(data[position : min(position + _CHUNK, end)])


def _invalid(reason: str) -> APIError:
    return APIError(400, f"The body is not valid multipart/form-data: {reason}")


def read_lifetime(fields: Mapping[str, str]) -> int | None:
    """Return the lifetime in seconds of ``expires_after``; ``None`` for a file that stays.

    Raises
    ------
    APIError
        If it is not valid.
    """
    anchor, seconds = fields.get("expires_after[anchor]"), fields.get("expires_after[seconds]")
    if anchor is None and seconds is None:
        return None
    if anchor != "created_at":
        raise APIError(400, "The anchor must be 'created_at'", param="expires_after.anchor")
    if seconds is None or not _SECONDS.fullmatch(seconds) or not 3_600 <= int(seconds) <= 2_592_000:
        raise APIError(400, "Give between 3600 and 2592000 seconds", param="expires_after.seconds")
    return int(seconds)
