"""Content encodings of HTTP bodies: gzip and deflate, and with their packages br and zstd."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

_PIECE_BYTES = 1 << 18
"""Size in bytes at which a decoded piece is yielded."""

_DAMAGED = (zlib.error, ValueError, RuntimeError, EOFError, OSError)


class ContentEncodingError(ValueError):
    """Body that is not encoded as its header says."""


class ContentDecoder:
    """Incremental decoder of a body.

    Memory stays bounded, as decoded bytes come in pieces of a few hundred KiB.

    Parameters
    ----------
    names : list of str
        Names of the encodings, in the order in which they were applied.

    Examples
    --------
    >>> import gzip
    >>> decoder = find_decoder("gzip")
    >>> b"".join(decoder.feed(gzip.compress(b"Are you open?")))
    b'Are you open?'
    >>> decoder.finish()
    """

    def __init__(self, names: list[str]) -> None:
        self._codecs = [_CODECS[name]() for name in reversed(names)]

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Add encoded bytes and yield the decoded ones in pieces.

        Raises
        ------
        ContentEncodingError
            If they are damaged.
        """
        pieces: Iterator[bytes] = iter((data,))
        for codec in self._codecs:
            pieces = _decode(codec, pieces)
        try:
            yield from pieces
        except _error_types() as error:
            raise ContentEncodingError(str(error) or type(error).__name__) from None

    def finish(self) -> None:
        """Check that the body is complete.

        Raises
        ------
        ContentEncodingError
            If it is cut off.
        """
        if not all(codec.is_complete for codec in self._codecs):
            raise ContentEncodingError("the encoded body is cut off")


def find_decoder(header: str | None) -> ContentDecoder | None:
    """Return the decoder for a ``Content-Encoding`` header, ``None`` if the body is not encoded.

    Raises
    ------
    LookupError
        If an encoding is unknown, or its package is not installed. The message names it.
    """
    names = [name for part in (header or "").split(",") if (name := part.strip().lower())]
    names = [name for name in names if name != "identity"]
    if not names:
        return None
    for name in names:
        if name not in _CODECS:
            raise LookupError(name)
    return ContentDecoder(names)


def _decode(codec: _Codec, pieces: Iterator[bytes]) -> Iterator[bytes]:
    for piece in pieces:
        yield from codec.feed(piece)


class _Codec:
    """Decoder of one encoding.

    Parameters
    ----------
    start : Callable[[bytes], Any]
        Function that makes a decompressor from the first bytes of its input.
    """

    def __init__(self, start: Callable[[bytes], Any]) -> None:
        self._start = start
        self._decompressor: Any = None

    @property
    def is_complete(self) -> bool:
        """If true, the input does not end within a compressed stream."""
        return self._decompressor is None or bool(self._decompressor.eof)

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield decoded pieces. Compressed streams may follow one another."""
        while data:
            if self._decompressor is None or self._decompressor.eof:
                self._decompressor = self._start(data)
            current = self._decompressor
            piece = current.decompress(data, _PIECE_BYTES)
            if piece:
                yield piece
            while len(piece) >= _PIECE_BYTES and not current.eof:
                piece = current.decompress(getattr(current, "unconsumed_tail", b""), _PIECE_BYTES)
                if piece:
                    yield piece
            data = current.unused_data


class _BrotliStream:
    """Decompressor of one brotli stream, with the methods of those of the standard library."""

    unused_data = b""

    def __init__(self, module: Any) -> None:
        self._decompressor = module.Decompressor()

    @property
    def eof(self) -> bool:
        """If true, the end of the stream was reached."""
        return bool(self._decompressor.is_finished())

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """Return about ``max_length`` decoded bytes; the rest follows for empty input."""
        pieces, size = [], 0
        while size < max_length and not self.eof:
            piece = self._decompressor.process(data, output_buffer_limit=max_length - size)
            pieces.append(piece)
            size += len(piece)
            data = b""
            if not piece:
                break
        return b"".join(pieces)


def _start_deflate(data: bytes) -> Any:
    """Return a decompressor of zlib streams, or of raw ones, which some servers send."""
    return zlib.decompressobj(zlib.MAX_WBITS if data[0] & 0x0F == 8 else -zlib.MAX_WBITS)


def _start_gzip(data: bytes) -> Any:
    del data
    return zlib.decompressobj(zlib.MAX_WBITS | 16)


def _import(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError:
        return None


_brotli = _import("brotli")
_zstd = _import("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd")

_CODECS: dict[str, Callable[[], _Codec]] = {
    "gzip": lambda: _Codec(_start_gzip),
    "x-gzip": lambda: _Codec(_start_gzip),
    "deflate": lambda: _Codec(_start_deflate),
}
if hasattr(_brotli, "Decompressor"):
    _CODECS["br"] = lambda: _Codec(lambda _: _BrotliStream(_brotli))
if _zstd is not None:
    _CODECS["zstd"] = lambda: _Codec(lambda _: _zstd.ZstdDecompressor())

CONTENT_ENCODINGS = tuple(name for name in _CODECS if name != "x-gzip")
"""Names of the encodings that can be decoded."""


def _error_types() -> tuple[type[BaseException], ...]:
    modules = [(_brotli, "error"), (_zstd, "ZstdError")]
    return (*_DAMAGED, *(getattr(module, name) for module, name in modules if module is not None))
