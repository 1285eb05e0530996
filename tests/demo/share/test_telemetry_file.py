"""Tests for the forms of files that ``demo import`` reads, and for what is damaged in them."""

import gzip
import io
import json

import pytest

from tests.demo.share.otlp_files import (
    Trace,
    framed_zstd,
    gzipped,
    json_lines,
    metrics,
    one_object,
    pretty,
    zstd,
)
from three_pillar_demo.share import telemetry_file
from three_pillar_demo.share.telemetry_file import Document, documents


def read(content: bytes) -> list[Document]:
    """Return the documents in ``content``."""
    return list(documents(io.BytesIO(content)))


@pytest.mark.parametrize("write", [json_lines, gzipped, zstd, framed_zstd])
def test_one_document_a_line(write: object) -> None:
    """Lines are one document each: plain, compressed, and in the file exporter's zstd frames."""
    assert callable(write)
    trace = Trace()
    objects = [trace.spans(), trace.logs(), metrics()]
    found = read(write(*objects))
    assert [document.value for document in found] == objects
    assert not [document.problem for document in found if document.problem]


def test_a_list_and_a_single_object_are_documents() -> None:
    """A pretty-printed list is one document, and so is a pretty-printed object."""
    trace = Trace()
    [found] = read(pretty(trace.spans(), trace.logs()))
    assert found.value == [trace.spans(), trace.logs()]
    [found] = read(one_object(trace.spans(), trace.logs()))
    assert found.value == trace.spans() | trace.logs()


def test_a_list_with_one_object_a_line_is_one_document() -> None:
    """A list whose elements begin at the left edge is not taken apart."""
    trace = Trace()
    content = b"[\n" + json_lines(trace.spans()).rstrip() + b",\n" + json_lines(trace.logs()) + b"]"
    [found] = read(content)
    assert found.value == [trace.spans(), trace.logs()]


def test_pretty_printed_objects_follow_each_other() -> None:
    """Several pretty-printed objects in one file are several documents."""
    trace = Trace()
    content = b"\n".join(
        json.dumps(value, indent=2).encode() for value in (trace.spans(), trace.logs())
    )
    assert [document.value for document in read(content)] == [trace.spans(), trace.logs()]


@pytest.mark.parametrize(
    "bad",
    [b'{"resourceSpans":[{"reso\n', b"{not json}\n", b'{"a":1}}\n', b"garbage\n"],
)
def test_a_bad_line_costs_no_other(bad: bytes) -> None:
    """A line that is cut or no JSON is reported with its place, and the others are read."""
    trace = Trace()
    found = read(json_lines(trace.spans()) + bad + json_lines(trace.logs()))
    good = [document.value for document in found if not document.problem]
    [problem] = [document for document in found if document.problem]
    assert good == [trace.spans(), trace.logs()]
    assert problem.problem.startswith("not valid JSON: ")
    assert problem.place == "line 2"


def test_a_file_that_is_cut_is_read_as_far_as_it_goes() -> None:
    """A gzip file and zstd frames that end too early give what is whole, and the place."""
    trace = Trace()
    objects = [trace.spans() for _ in range(200)]
    whole = gzip.compress(json_lines(*objects), 1)
    *good, problem = read(whole[: len(whole) - 40])
    damaged = [document.problem for document in [*good, problem] if document.problem]
    assert len(good) > 100
    assert damaged[0].startswith("compressed data damaged")
    frames = framed_zstd(*objects)
    *good, problem = read(frames[:-3])
    assert len(good) == 199
    assert (problem.place, problem.problem) == ("message 200", "the file ends in the middle of it")


def test_protobuf_is_named() -> None:
    """The exporter's binary format is refused with what to set instead."""
    message = b"\x0a\x03abc"
    [found] = read(len(message).to_bytes(4, "big") + message)
    assert found.problem == "binary protobuf; set the file exporter's format to json"


def test_text_that_is_not_utf_8_is_mended() -> None:
    """A byte that is no UTF-8 becomes a replacement character, and the document is kept."""
    [found] = read(b'{"name":"m\xfcnze"}')
    assert found.value == {"name": "m\ufffdnze"}


def test_a_document_that_is_too_long_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """A document over the limit is reported, and the next one is read."""
    monkeypatch.setattr(telemetry_file, "MAX_DOCUMENT_BYTES", 100)
    found = read(b'{"a":"' + b"x" * 500 + b'"}\n{"b":1}\n')
    assert [document.problem for document in found] == ["a document of over 100 bytes", ""]
    assert found[1].value == {"b": 1}


@pytest.mark.parametrize("content", [b"", b"\n\n  \n"])
def test_an_empty_file_has_no_documents(content: bytes) -> None:
    """An empty file gives nothing, and no problem."""
    assert read(content) == []


def test_deep_nesting_is_a_problem_of_one_document() -> None:
    """A document that is nested too deeply for the parser is reported."""
    deep, good = read(b"{" + b'"a":{' * 100_000 + b"\n" + b'{"b":1}')
    assert deep.problem
    assert good.value == {"b": 1}
