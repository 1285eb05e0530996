"""Tests of the decompression of a request body: what is accepted, and what it may cost."""

import gzip
import os
import zlib
from collections.abc import Callable

import pytest
import zstandard

from tests.demo.local_store.messages import MIB, log_record, log_request
from tests.demo.local_store.stores import InMemoryStore
from three_pillar_demo.local_store.compression import (
    MAX_DECOMPRESSED_BYTES,
    MAX_FRAMES,
    decompress,
)
from three_pillar_demo.local_store.request_error import RequestError

CONTENT = os.urandom(1000) + b"abc" * 100_000
HALF = len(CONTENT) // 2


def raw_deflate(content: bytes, level: int = 6) -> bytes:
    """Return ``content`` as deflate data without header and checksum."""
    compressor = zlib.compressobj(level=level, wbits=-15)
    return compressor.compress(content) + compressor.flush()


def zstd(content: bytes, level: int = 3) -> bytes:
    """Return ``content`` as one zstd frame that tells its size."""
    return zstandard.ZstdCompressor(level=level).compress(content)


def zstd_stream(content: bytes, window_log: int = 20) -> bytes:
    """Return ``content`` as one zstd frame that tells the size of its window only."""
    parameters = zstandard.ZstdCompressionParameters(window_log=window_log)
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    return compressor.compress(content) + compressor.flush()


ACCEPTED = {
    "none": ("", CONTENT),
    "identity": ("identity", CONTENT),
    "gzip": ("gzip", gzip.compress(CONTENT)),
    "the former name of gzip": ("x-gzip", gzip.compress(CONTENT)),
    "gzip of two members": ("gzip", gzip.compress(CONTENT[:HALF]) + gzip.compress(CONTENT[HALF:])),
    "deflate": ("deflate", zlib.compress(CONTENT)),
    "zlib, a name of the Collector's": ("zlib", zlib.compress(CONTENT)),
    "deflate without header": ("deflate", raw_deflate(CONTENT)),
    "deflate without header or compression": ("deflate", raw_deflate(CONTENT, 0)),
    "zstd": ("zstd", zstd(CONTENT)),
    "zstd at its highest level": ("zstd", zstd(CONTENT, 22)),
    "zstd stream": ("zstd", zstd_stream(CONTENT)),
    "zstd of two frames": ("zstd", zstd(CONTENT[:HALF]) + zstd_stream(CONTENT[HALF:])),
    "zstd with a frame to skip": ("zstd", b"\x50\x2a\x4d\x18\x03\x00\x00\x00abc" + zstd(CONTENT)),
    "zstd with a window of 32 MiB": ("zstd", zstd_stream(CONTENT, 25)),
}


@pytest.mark.parametrize(("encoding", "body"), list(ACCEPTED.values()), ids=list(ACCEPTED))
def test_each_encoding_is_accepted(encoding: str, body: bytes) -> None:
    """Each supported form of a body gives the original content."""
    assert decompress(body, encoding) == CONTENT


@pytest.mark.parametrize("size", [0, 1, 2, 10, 65_535, 65_536])
@pytest.mark.parametrize("level", range(10))
def test_deflate_without_header_is_recognised(level: int, size: int) -> None:
    """Deflate data without header is never mistaken for the zlib format."""
    assert decompress(raw_deflate(CONTENT[:size], level), "deflate") == CONTENT[:size]


REFUSED = {
    "an unknown encoding": ("br", CONTENT, 415),
    "a list": ("gzip, zstd", gzip.compress(zstd(CONTENT)), 415),
    "gzip twice": ("gzip, gzip", gzip.compress(gzip.compress(CONTENT)), 415),
    "no gzip": ("gzip", CONTENT, 400),
    "empty gzip": ("gzip", b"", 400),
    "cut gzip": ("gzip", gzip.compress(CONTENT)[:-4], 400),
    "gzip and more": ("gzip", gzip.compress(CONTENT) + b"more", 400),
    "gzip of many members": ("gzip", gzip.compress(b"") * 100_000, 400),
    "gzip that grows": ("gzip", gzip.compress(bytes(20 * MIB), 1), 413),
    "members that grow": ("gzip", gzip.compress(bytes(5 * MIB)) * 2, 413),
    "no deflate": ("deflate", b"\xff" * 100, 400),
    "empty deflate": ("deflate", b"", 400),
    "cut deflate": ("deflate", zlib.compress(CONTENT)[:-4], 400),
    "cut deflate without header": ("deflate", raw_deflate(CONTENT)[:-4], 400),
    "deflate and more": ("deflate", zlib.compress(CONTENT) * 2, 400),
    "deflate that grows": ("deflate", zlib.compress(bytes(20 * MIB), 1), 413),
    "no zstd": ("zstd", CONTENT, 400),
    "empty zstd": ("zstd", b"", 400),
    "cut zstd": ("zstd", zstd(CONTENT)[:-4], 400),
    "zstd and more": ("zstd", zstd(CONTENT) + b"more", 400),
    "zstd of many frames": ("zstd", zstd(b"") * 100_000, 400),
    "zstd that grows": ("zstd", zstd(bytes(20 * MIB)), 413),
    "frames that grow": ("zstd", zstd(bytes(MIB)) * (MAX_DECOMPRESSED_BYTES // MIB + 1), 413),
    "zstd with a window of 128 MiB": ("zstd", zstd_stream(CONTENT, 27), 400),
}


@pytest.mark.parametrize(("encoding", "body", "status"), list(REFUSED.values()), ids=list(REFUSED))
def test_other_bodies_are_refused(encoding: str, body: bytes, status: int) -> None:
    """Each invalid, unknown or too large body is refused with the status for its kind."""
    with pytest.raises(RequestError) as caught:
        decompress(body, encoding)
    assert caught.value.status == status
    if status == 415:
        assert str(caught.value) == (
            "unsupported content-encoding, use gzip, deflate, zstd or identity"
        )


def test_as_many_parts_as_allowed_are_accepted() -> None:
    """The largest allowed number of gzip members and zstd frames is accepted."""
    for encoding, part in (("gzip", gzip.compress(b"a")), ("zstd", zstd(b"a"))):
        assert decompress(part * MAX_FRAMES, encoding) == b"a" * MAX_FRAMES


@pytest.mark.parametrize("encoding", ["deflate", "zstd", "ZSTD", " gzip "])
def test_a_compressed_request_is_stored(in_memory_store: InMemoryStore, encoding: str) -> None:
    """A request in each encoding is stored; the encoding's name may have any case and spaces."""
    compress: dict[str, Callable[[bytes], bytes]]
    compress = {"deflate": zlib.compress, "zstd": zstd, "gzip": gzip.compress}
    body = log_request(log_record("kept")).SerializeToString()
    response = in_memory_store.send(
        "logs",
        compress[encoding.strip().lower()](body),
        {"content-encoding": encoding},
    )
    assert response.status_code == 200
    assert in_memory_store.rows("SELECT body FROM lines") == [("kept",)]
