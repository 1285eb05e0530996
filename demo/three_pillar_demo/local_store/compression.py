"""Decompresses the body of an export request, with a limit on the size of the result."""

import zlib

from three_pillar_demo.local_store.request_error import RequestError

MAX_DECOMPRESSED_BYTES = 8 * 1024**2
GZIP_WINDOW_BITS = 31
"""The argument ``wbits`` of zlib: 15 for the maximum window size, plus 16 for the gzip format."""


def decompress(body: bytes, encoding: str) -> bytes:
    """Return ``body`` without its compression; ``encoding`` is the value of ``Content-Encoding``.

    Raises:
        RequestError: The encoding is not supported, or the body is invalid or too large.
    """
    if encoding in {"", "identity"}:
        return body
    if encoding != "gzip":
        raise RequestError(415, "unsupported content-encoding, use gzip or identity")
    decompressor = zlib.decompressobj(wbits=GZIP_WINDOW_BITS)
    try:
        content = decompressor.decompress(body, MAX_DECOMPRESSED_BYTES + 1)
    except zlib.error as error:
        raise RequestError(400, f"request body is not valid gzip: {error}") from error
    if len(content) > MAX_DECOMPRESSED_BYTES:
        reason = (
            f"decompressed request body over {MAX_DECOMPRESSED_BYTES} bytes, send smaller batches"
        )
        raise RequestError(413, reason)
    if not decompressor.eof or decompressor.unused_data:
        raise RequestError(400, "gzip stream truncated, or followed by other data")
    return content
