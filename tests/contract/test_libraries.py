"""Where hand-written code does what a library does not: each claim of docs/decisions/libraries.md."""

import json
from typing import Any

import pytest
from pydantic import TypeAdapter
from sqlalchemy.engine import make_url
from werkzeug.http import parse_content_range_header, parse_range_header

from app.calls.evidence.facts import Fact
from app.enrichment.audio.byte_ranges import read_content_range, read_range
from app.ringcentral.protocol.multistatus import split_parts
from app.values.database_url import read_database_url
from app.values.exact_json import find_faults
from bench.libraries import CONTENT_TYPE, make_fact, make_multipart, split_by_email

PARTS = [b'{"response": [{"status": 200}, {"status": 200}]}', b'{"a":\n 1}', '{"name": "Zoë"}'.encode()]
WELL_FORMED = make_multipart(PARTS)


@pytest.mark.parametrize(
    "body",
    [
        WELL_FORMED,
        WELL_FORMED.replace(b"\r\n", b"\n"),
        WELL_FORMED.replace(b"\r\n--", b"\n--", 2),
        b"preamble\r\n" + WELL_FORMED + b"\r\n\r\n",
    ],
    ids=["CRLF", "LF", "mixed", "preamble and epilogue"],
)
def test_email_reads_the_same_parts_of_well_formed_multipart(body: bytes) -> None:
    assert split_parts(CONTENT_TYPE, body) == split_by_email(CONTENT_TYPE, body) == PARTS


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/mixed", WELL_FORMED),
        (CONTENT_TYPE, WELL_FORMED.replace(b"json\r\n\r\n", b"json\r\n")),
        (CONTENT_TYPE, WELL_FORMED.replace(b"json\r\n", b"json\r\nContent-Transfer-Encoding: base64\r\n")),
    ],
    ids=["no boundary parameter", "no blank line", "wrong encoding header"],
)
def test_email_loses_parts_of_damaged_multipart_that_ours_reads(content_type: str, body: bytes) -> None:
    assert split_parts(content_type, body) == PARTS
    assert split_by_email(content_type, body) != PARTS


@pytest.mark.parametrize(
    "header", ["bytes=0-99", "bytes=5-", "bytes=-5", "bytes=5-3", "bytes=a-b", "bytes=-"]
)
def test_werkzeug_reads_the_same_single_range(header: str) -> None:
    ours, theirs = read_range(header), parse_range_header(header)
    assert (ours is None) == (theirs is None)
    assert ours is None or theirs is None or str(ours) == theirs.to_header()


def test_werkzeug_leaves_the_choice_among_ranges_and_units_to_its_caller() -> None:
    for header in ("bytes=0-1,4-5", "items=0-1"):
        assert parse_range_header(header) is not None
        assert read_range(header) is None
    assert parse_content_range_header("bytes */100") is not None
    assert read_content_range("bytes */100") is None


@pytest.mark.parametrize(
    "body",
    [b'{"a": 1, "a": 2}', b'{"a": NaN}', b'{"a": 1e999}', b'{"a": "\\ud800"}', b'{"a": "\\u0000"}'],
    ids=["repeated name", "NaN", "overflow", "half a surrogate pair", "NUL"],
)
def test_the_standard_decoder_accepts_what_cannot_be_kept(body: bytes) -> None:
    json.loads(body)
    assert len(find_faults(body)) == 1


@pytest.mark.parametrize(
    "address",
    ["host=db.example dbname=calls user=aftercall", "postgresql://one:5432,two:5433/calls"],
    ids=["libpq's own form", "several hosts"],
)
def test_sqlalchemy_does_not_read_addresses_that_hosting_providers_give(address: str) -> None:
    assert read_database_url(address)
    with pytest.raises(Exception):  # noqa: B017 - ArgumentError or ValueError
        make_url(address)


def test_facts_are_stored_in_less_space_than_their_fields() -> None:
    fact = make_fact(7)
    adapter: TypeAdapter[Any] = TypeAdapter(Fact)
    ours = json.dumps(fact.to_json())
    theirs = json.dumps(adapter.dump_python(fact, mode="json", exclude_defaults=True))
    assert Fact.from_json(json.loads(ours)) == fact == adapter.validate_python(json.loads(theirs))
    assert len(ours) < 0.8 * len(theirs)
