"""What a JSON body may contain, what databases would change in it, and responses that can be written."""

import json
from typing import Any

import pytest

from app.values.exact_json import MAX_LEVELS, find_faults, is_same, pack, unpack, write_json


@pytest.mark.parametrize(
    ("body", "path", "words"),
    [
        (b'{"a": 1, "a": 2}', ("a",), "more than once"),
        (b'{"a": {"b": [{"c": 1, "c": 1}]}}', ("a", "b", 0, "c"), "more than once"),
        (b'{"a": NaN}', ("a",), "finite"),
        (b'{"a": [-Infinity]}', ("a", 0), "finite"),
        (b'{"a": 1e400}', ("a",), "finite"),
        (b'{"a": 1e99999999999999999999}', ("a",), "finite"),
        (b'{"a": "\\u0000"}', ("a",), "NUL"),
        (b'{"a": "Zoe \\ud83d"}', ("a",), "surrogate"),
        (b'{"a": "Zoe \xed\xa0\xbd"}', ("a",), "surrogate"),
        (b'{"a": {"\\ud83d": 1}}', ("a",), "surrogate"),
        (b'{"a": ' + b"9" * 309 + b"}", ("a",), "128 digits"),
        (b'{"a": -' + b"9" * 129 + b"}", ("a",), "128 digits"),
        (b'{"a": ' + b"[" * 250 + b"]" * 250 + b"}", (), "levels"),
        (b"[" * MAX_LEVELS + b"[]" + b"]" * MAX_LEVELS, (), "levels"),
    ],
)
def test_values_that_cannot_be_kept_are_located(body: bytes, path: tuple[Any, ...], words: str) -> None:
    (fault,) = find_faults(body)
    assert fault.path == path
    assert words in fault.detail


@pytest.mark.parametrize(
    "number", ["0.1234567890123456789", "1e-400", "1e-99999999999999999999", "18446744073709551617.5"]
)
def test_a_rounded_number_is_a_fault_only_in_exact_fields(number: str) -> None:
    body = f'{{"kept": {number}, "read": {number}}}'.encode()
    assert [fault.path for fault in find_faults(body, {"kept"})] == [("kept",)]


@pytest.mark.parametrize(
    "body",
    [
        b'{"a": [18446744073709551617, 1.0, -0.0, 1.50, 1e22, 0.1, 5e-324, true, null, ""]}',
        b'{"a": ' + b"9" * 128 + b"}",
        b'{"a": "\\ud83d\\ude00", "b": {"a": 1}}',
        b"[" * MAX_LEVELS + b"]" * MAX_LEVELS,
        b"{not json",
        b"[" * 100_000,
    ],
)
def test_other_bodies_have_no_faults(body: bytes) -> None:
    assert find_faults(body, {"a"}) == []


def test_faults_are_bounded() -> None:
    body = json.dumps({"a": ["\0"] * 1_000}).encode()
    assert len(find_faults(body)) == 10


@pytest.mark.parametrize(
    "value",
    [0, 1, -1, 2**64 + 1, 10**127, 1.0, -0.0, 1e300, 5e-324, "1.0", "", True, False, {}, [],
     {"a": 1.5, "b": [1e22]}, [-0.0], {"$json": "1"}, {"$json": 1}, {"a": {"$json": "x"}}],
)  # fmt: skip
def test_packed_values_are_unpacked_unchanged(value: Any) -> None:
    assert is_same(unpack(json.loads(json.dumps(pack(value)))), value)


@pytest.mark.parametrize("value", ["positive", {"polarity": 0.62, "n": 7}, [1, 2], True])
def test_ordinary_values_are_stored_as_they_are(value: Any) -> None:
    assert pack(value) is value


def test_values_are_compared_type_by_type() -> None:
    assert is_same({"a": 1, "b": 2}, {"b": 2, "a": 1})
    for one, other in [(1, 1.0), (1, True), (0.0, -0.0), ({"a": 1}, {"a": 1.0}), ([True], [1]), ("1", 1)]:
        assert not is_same(one, other)
    assert is_same(None, None)


def test_values_stored_by_earlier_versions_can_be_written() -> None:
    deep: Any = "end"
    for _ in range(600):
        deep = [deep]
    written = json.loads(write_json({"half": "Zoe \ud83d", "odd": float("inf"), "deep": deep, "kept": 1.0}))
    assert written["half"] == "Zoe \ufffd"
    assert written["odd"] is None
    assert written["kept"] == 1.0
