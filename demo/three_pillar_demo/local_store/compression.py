"""Decompresses the body of an export request, with a limit on the size of the result.

https://www.rfc-editor.org/rfc/rfc9110#section-8.4.1 defines gzip and deflate, and
https://www.rfc-editor.org/rfc/rfc8878 zstd.
"""

import zlib

import zstandard

from three_pillar_demo.local_store.request_error import RequestError

MAX_DECOMPRESSED_BYTES = 8 * 1024**2
MAX_FRAMES = 256
"""The maximum number of gzip members or zstd frames in a body; an SDK sends one."""
MAX_WINDOW_BYTES = 32 * 1024**2
"""The memory that a zstd frame may ask for: that of the highest level of the Go encoder."""
ZSTD_STEP_BYTES = 256
"""How much of a zstd body is decompressed at once.

The decompressor has no limit on its output. A block of 4 bytes can become 128 KiB, so that a step
gives 8 MiB at most.
"""
GZIP_WINDOW_BITS = 31
"""The argument ``wbits`` of zlib: 15 for the maximum window size, plus 16 for the gzip format."""
ZLIB_WINDOW_BITS = 15
RAW_WINDOW_BITS = -15


def decompress(body: bytes, encoding: str) -> bytes:
    """Return ``body`` without its compression; ``encoding`` is the value of ``Content-Encoding``.

    Raises:
        RequestError: The encoding is not supported, or the body is invalid or too large.
    """
    match encoding:
        case "" | "identity":
            return body
        case "gzip" | "x-gzip":
            return _inflate(body, GZIP_WINDOW_BITS, "gzip")
        case "deflate" | "zlib":  # the Collector's name for one of its compressions
            return _inflate(body, _deflate_window_bits(body), "deflate")
        case "zstd":
            return _decompress_zstd(body)
    raise RequestError(415, "unsupported content-encoding, use gzip, deflate, zstd or identity")


def _inflate(body: bytes, window_bits: int, encoding: str) -> bytes:
    """Return the content of a body in gzip or deflate; gzip may have several members."""
    content = b""
    rest = body
    for _ in range(MAX_FRAMES if encoding == "gzip" else 1):
        decompressor = zlib.decompressobj(wbits=window_bits)
        try:
            content += decompressor.decompress(rest, MAX_DECOMPRESSED_BYTES + 1 - len(content))
        except zlib.error as error:
            raise RequestError(400, f"request body is not valid {encoding}: {error}") from error
        _check_size(len(content))
        rest = decompressor.unused_data
        if not decompressor.eof or not rest:
            break
    if not decompressor.eof or rest:
        raise RequestError(400, _end_problem(encoding))
    return content


def _deflate_window_bits(body: bytes) -> int:
    """Return the argument ``wbits`` of zlib for a body in deflate.

    The encoding ``deflate`` means the zlib format, but some clients send its data without header
    and checksum. RFC 1950 (2.2) defines the two bytes of the header; data without a header cannot
    begin with them.
    """
    header = int.from_bytes(body[:2])
    is_zlib = header >> 8 & 15 == zlib.DEFLATED and header % 31 == 0
    return ZLIB_WINDOW_BITS if is_zlib else RAW_WINDOW_BITS


def _decompress_zstd(body: bytes) -> bytes:
    decompressor = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW_BYTES)
    parts: list[bytes] = []
    size_bytes = 0
    position = 0
    for _ in range(MAX_FRAMES):
        frame = decompressor.decompressobj()
        while not frame.eof and position < len(body):
            step = body[position : position + ZSTD_STEP_BYTES]
            try:
                part = frame.decompress(step)
            except zstandard.ZstdError as error:
                raise RequestError(400, f"request body is not valid zstd: {error}") from error
            position += len(step) - len(frame.unused_data)
            size_bytes += len(part)
            _check_size(size_bytes)
            parts.append(part)
        if position == len(body):
            break
    if not frame.eof or position < len(body):
        raise RequestError(400, _end_problem("zstd"))
    return b"".join(parts)


def _end_problem(encoding: str) -> str:
    return f"{encoding} stream truncated, or followed by other data, or of over {MAX_FRAMES} parts"


def _check_size(size_bytes: int) -> None:
    if size_bytes > MAX_DECOMPRESSED_BYTES:
        reason = (
            f"decompressed request body over {MAX_DECOMPRESSED_BYTES} bytes, send smaller batches"
        )
        raise RequestError(413, reason)
