"""Bodies are stored small, and read exactly as they came."""

import json
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.values.packed_bodies import pack_body, unpack_body
from tests.factories import delivery

MARK = b"\x00z1"
PACKED = bytes.fromhex("007a31831721e6162686048b114b030b037360be31c45e9e60960346b5b500")
"""`BODY` as it was packed when the format was made."""
BODY = b'{"uuid":"7841","event":"/restapi/v1.0/account/908070001/telephony/sessions","body":{"sequence":2}}'


@given(st.binary(max_size=300))
def test_any_body_is_read_as_it_came(body: bytes) -> None:
    assert unpack_body(pack_body(body)) == body


@pytest.mark.parametrize("body", [MARK, MARK + b"{}", MARK + b"\x03\x00", pack_body(BODY), MARK * 100])
def test_a_body_that_looks_packed_is_read_as_it_came(body: bytes) -> None:
    assert unpack_body(pack_body(body)) == body


@pytest.mark.parametrize(
    "stored", [BODY, b"", b"not JSON", MARK, MARK + b"\xff\xff", PACKED[:-1], PACKED + b"more"]
)
def test_what_is_not_packed_is_read_as_it_is_stored(stored: bytes) -> None:
    assert unpack_body(stored) == stored


def test_what_was_packed_once_is_read_by_every_later_version() -> None:
    assert unpack_body(PACKED) == BODY


def test_an_event_takes_less_than_half_and_less_than_without_known_words() -> None:
    body = json.dumps(delivery(), separators=(",", ":")).encode()

    assert len(pack_body(body)) < len(body) / 2
    assert len(pack_body(body)) < len(zlib.compress(body, 9)) * 0.7


def test_a_short_body_is_not_made_longer() -> None:
    assert pack_body(b"{}") == b"{}"
