"""Content encodings of requests and responses."""

import gzip
import random
import zlib

import pytest

from backtalk.serve.content_encoding import CONTENT_ENCODINGS, ContentEncodingError, find_decoder


def raw_deflate(data):
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return compressor.compress(data) + compressor.flush()


def brotli_compress(data):
    return pytest.importorskip("brotli").compress(data)


def zstd_compress(data):
    return pytest.importorskip("backports.zstd").compress(data)


ENCODERS = [
    ("gzip", gzip.compress),
    ("X-GZip", gzip.compress),
    ("deflate", zlib.compress),
    ("deflate", raw_deflate),
    ("br", brotli_compress),
    ("zstd", zstd_compress),
    ("identity, gzip, deflate", lambda data: zlib.compress(gzip.compress(data))),
]
BODIES = [b"", b"x", b"A" * 1_000_000, random.Random(7).randbytes(300_000), b"ab" * 131_072]


@pytest.mark.parametrize(("name", "encode"), ENCODERS)
@pytest.mark.parametrize("size", [1, 4096, 10**9])
def test_encoded_bodies_are_decoded_in_whatever_pieces_they_arrive(name, encode, size):
    for body in BODIES:
        encoded = encode(body)
        if size == 1 and len(encoded) > 5_000:
            continue
        decoder = find_decoder(name)
        pieces = [
            piece
            for start in range(0, len(encoded), size)
            for piece in decoder.feed(encoded[start : start + size])
        ]
        decoder.finish()
        assert b"".join(pieces) == body
        assert max(map(len, pieces), default=0) <= 1_000_000


def test_compressed_streams_may_follow_one_another():
    decoder = find_decoder("gzip")
    assert b"".join(decoder.feed(gzip.compress(b"one ") + gzip.compress(b"two"))) == b"one two"


@pytest.mark.parametrize(("name", "encode"), ENCODERS)
def test_bodies_that_are_cut_off_or_damaged_are_errors(name, encode):
    cut = find_decoder(name)
    with pytest.raises(ContentEncodingError):  # noqa: PT012 - either may notice it
        list(cut.feed(encode(BODIES[3])[:-3]))
        cut.finish()
    with pytest.raises(ContentEncodingError):
        list(find_decoder(name).feed(b"\xff\x00 this is not compressed" * 9))


def test_unknown_encodings_are_named():
    assert find_decoder(None) is find_decoder("") is find_decoder("identity") is None
    with pytest.raises(LookupError, match="aes128gcm"):
        find_decoder("gzip, aes128gcm")
    assert {"gzip", "deflate"} <= set(CONTENT_ENCODINGS)
