"""Byte ranges: what a header means, and which bytes of a whole that is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.enrichment.audio.byte_ranges import ByteRange, Span, read_content_range, read_range, satisfy


@pytest.mark.parametrize(
    ("header", "asked"),
    [
        ("bytes=0-99", ByteRange(0, 99)),
        ("bytes=100-", ByteRange(100, None)),
        ("bytes=-500", ByteRange(None, 500)),
        (" Bytes = 5-5 ", ByteRange(5, 5)),
    ],
)
def test_one_range_is_read_in_each_of_its_forms(header: str, asked: ByteRange) -> None:
    assert read_range(header) == asked


@pytest.mark.parametrize(
    "header",
    [None, "", "bytes=", "bytes=-", "bytes=5-4", "bytes=0-1,3-4", "items=0-1", "bytes=a-b", "bytes=0"],
)
def test_what_may_be_ignored_is_ignored(header: str | None) -> None:
    assert read_range(header) is None


@pytest.mark.parametrize(
    ("asked", "total", "span"),
    [
        (ByteRange(0, 99), 1000, Span(0, 99, 1000)),
        (ByteRange(900, 5000), 1000, Span(900, 999, 1000)),
        (ByteRange(None, 5000), 1000, Span(0, 999, 1000)),
        (ByteRange(None, 0), 1000, None),
        (ByteRange(1000, None), 1000, None),
        (ByteRange(0, 0), 0, None),
        (ByteRange(None, 1), 0, None),
    ],
)
def test_a_range_is_cut_to_what_there_is(asked: ByteRange, total: int, span: Span | None) -> None:
    assert satisfy(asked, total) == span


@pytest.mark.parametrize("header", [None, "", "bytes */5", "bytes 5-4/9", "5-9/10", "bytes 0-/9"])
def test_a_content_range_without_sense_is_none(header: str | None) -> None:
    assert read_content_range(header) is None


@given(st.integers(0, 10**12), st.integers(0, 10**12), st.none() | st.integers(0, 10**13))
def test_a_content_range_is_read_as_it_is_written(first: int, more: int, total: int | None) -> None:
    span = Span(first, first + more, total)
    assert read_content_range(span.content_range) == span


@given(st.none() | st.integers(0, 60), st.none() | st.integers(0, 60), st.binary(max_size=40))
def test_a_span_is_what_a_slice_would_be(first: int | None, last: int | None, whole: bytes) -> None:
    asked = read_range(str(ByteRange(first, last)))
    if asked is None:
        return
    span = satisfy(asked, len(whole))
    expected = whole[-last:] if first is None and last else whole[first : None if last is None else last + 1]
    if first is None and last == 0:
        expected = b""
    if span is None:
        assert expected == b""
    else:
        assert span.last is not None
        assert whole[span.first : span.last + 1] == expected != b""
