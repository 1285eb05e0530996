"""Reads the JSON documents of a file of telemetry, which may be compressed, one after the other.

A file has one JSON document, pretty-printed or not, or one document a line, as the Collector's file
exporter writes it. With ``compression: zstd`` this exporter writes each document as a zstd frame
behind its length, four bytes in network byte order.
"""

import codecs
import gzip
import io
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any, cast

import zstandard

GZIP_MAGIC = b"\x1f\x8b"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
PROTOBUF_FIELD_1 = b"\x0a"
"""The first byte of OTLP in protobuf."""
NOT_JSON = "binary protobuf; set the file exporter's format to json"
LENGTH_BYTES = 4
MAX_DOCUMENT_BYTES = 64 * 1024**2
"""The size of the longest document, in bytes; a longer one is reported and left out."""
MAX_FILE_BYTES = 4 * 1024**3
"""The size in bytes, after decompression, at which reading ends."""


@dataclass(frozen=True)
class Document:
    """One JSON document of a file, or the reason why there is none at its place.

    ``place`` is where the document begins, such as ``line 3``. ``problem`` is "" if ``value`` has
    the document.
    """

    place: str
    value: Any = None
    problem: str = ""


def documents(file: IO[bytes]) -> Iterator[Document]:
    """Yield the documents of ``file``, which must be seekable, from its beginning.

    What cannot be read is yielded as a problem, and reading goes on behind it where that is
    possible. The memory in use is that of one document.
    """
    file.seek(0)
    head = file.read(2 * LENGTH_BYTES)
    file.seek(0)
    if head.startswith(b"\0") and head[LENGTH_BYTES : LENGTH_BYTES + 1] == PROTOBUF_FIELD_1:
        yield Document("message 1", problem=NOT_JSON)
    elif head[LENGTH_BYTES:] == ZSTD_MAGIC:
        yield from _framed_documents(file)
    elif head.startswith(GZIP_MAGIC):
        yield from _line_documents(cast("IO[bytes]", gzip.GzipFile(fileobj=file)))
    elif head.startswith(ZSTD_MAGIC):
        reader = zstandard.ZstdDecompressor().stream_reader(
            file, read_across_frames=True, closefd=False
        )
        yield from _line_documents(io.BufferedReader(cast("io.RawIOBase", reader)))
    else:
        yield from _line_documents(file)


def _framed_documents(file: IO[bytes]) -> Iterator[Document]:
    """Yield the documents of zstd frames that each follow their length."""
    number = 0
    while length_bytes := file.read(LENGTH_BYTES):
        number += 1
        place = f"message {number}"
        length = int.from_bytes(length_bytes, "big")
        frame = file.read(length) if length <= MAX_DOCUMENT_BYTES else b""
        if len(length_bytes) < LENGTH_BYTES or len(frame) < length:
            yield Document(place, problem="the file ends in the middle of it")
            return
        try:
            reader = zstandard.ZstdDecompressor().stream_reader(frame)
            text = reader.read(MAX_DOCUMENT_BYTES)
        except zstandard.ZstdError as error:
            yield Document(place, problem=f"not valid zstd: {error}")
            continue
        is_protobuf = text.startswith(PROTOBUF_FIELD_1)
        yield Document(place, problem=NOT_JSON) if is_protobuf else _parsed(place, text)


def _line_documents(file: IO[bytes]) -> Iterator[Document]:
    """Yield the documents of a text, each of one or more lines."""
    parts = _DocumentLines()
    size_bytes = 0
    try:
        for number, line in enumerate(_lines(file), start=1):
            size_bytes += len(line)
            if size_bytes > MAX_FILE_BYTES:
                yield Document(
                    f"line {number}", problem=f"over {MAX_FILE_BYTES} bytes, not read on"
                )
                break
            if parts.begins_with(line):
                yield from parts.take()
            parts.add(number, line)
            if parts.may_end_with(line):
                yield from parts.take_if_complete()
    except (EOFError, OSError, zlib.error, zstandard.ZstdError) as error:
        yield Document(f"after line {parts.last}", problem=f"compressed data damaged: {error}")
    yield from parts.take()


def _lines(file: IO[bytes]) -> Iterator[bytes]:
    """Yield the lines of ``file``; a longer line than ``MAX_DOCUMENT_BYTES`` comes in pieces."""
    while line := file.readline(MAX_DOCUMENT_BYTES + 1):
        yield line


class _DocumentLines:
    """Collects the lines of one document.

    A document ends with a line that begins with its closing bracket, or is one line. An object also
    ends before a line that begins with ``{``: inside of an object, such a line is indented.
    """

    def __init__(self) -> None:
        self.first = 0
        self.last = 0
        self.lines: list[bytes] = []
        self.size_bytes = 0
        self.is_too_long = False

    def begins_with(self, line: bytes) -> bool:
        """Return True if ``line`` begins a new document."""
        return bool(self.lines) and line.startswith(b"{") and self._bracket() != b"["

    def may_end_with(self, line: bytes) -> bool:
        """Return True if the current document may be complete with ``line``, its last line."""
        closing = {b"{": b"}", b"[": b"]"}.get(self._bracket(), b"-")
        is_only = len(self.lines) == 1 and line.rstrip().endswith(closing)
        return is_only or line.startswith(closing)

    def _bracket(self) -> bytes:
        """Return the first character of the current document."""
        return self.lines[0].removeprefix(codecs.BOM_UTF8)[:1] if self.lines else b""

    def add(self, number: int, line: bytes) -> None:
        """Add a line of the current document; an empty line between two documents is ignored."""
        self.last = number
        if not self.lines and not line.strip():
            return
        if not self.lines:
            self.first = number
        self.size_bytes += len(line)
        if self.size_bytes > MAX_DOCUMENT_BYTES:
            self.is_too_long = True
            self.lines = [self.lines[0][:1] if self.lines else line[:1]]
        elif not self.is_too_long:
            self.lines.append(line)

    def take_if_complete(self) -> Iterator[Document]:
        """Yield the collected document and begin with the next one, unless it is not complete."""
        document = _parsed(f"line {self.first}", b"".join(self.lines))
        if not self.is_too_long and not document.problem:
            self.lines = []
            self.size_bytes = 0
            yield document

    def take(self) -> Iterator[Document]:
        """Yield the collected document, if there is one, and begin with the next one."""
        place = f"line {self.first}"
        if self.is_too_long:
            yield Document(place, problem=f"a document of over {MAX_DOCUMENT_BYTES} bytes")
        elif self.lines:
            yield _parsed(place, b"".join(self.lines))
        self.lines = []
        self.size_bytes = 0
        self.is_too_long = False


def _parsed(place: str, content: bytes) -> Document:
    """Return the document in ``content``; text that is not UTF-8 gets replacement characters."""
    text = content.decode("utf-8-sig", errors="replace")
    try:
        return Document(place, json.loads(text))
    except json.JSONDecodeError as error:
        at = f" at column {error.colno}" if error.lineno == 1 else f" at its line {error.lineno}"
        return Document(place, problem=f"not valid JSON: {error.msg}{at}")
    except (ValueError, RecursionError) as error:
        return Document(place, problem=f"not valid JSON: {str(error) or 'nested too deeply'}")
