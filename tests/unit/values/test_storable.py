"""The rule for what both databases can store."""

import json
import math
import time

import pytest

from app.values.storable import BadJson, decode_json, find_unstorable, storable_json, storable_text


def test_odd_json_from_outside_is_repaired() -> None:
    body = b'\xef\xbb\xbf{"a\\u0000": ["\\ud83d", "\xff", NaN, -Infinity, 1e400, %s, 12]}' % (b"9" * 4_400)

    assert decode_json(body) == {"a\ufffd": ["\ufffd", "\ufffd", None, None, None, None, 12]}


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 100_000])
def test_invalid_json_is_rejected(body: bytes) -> None:
    with pytest.raises(BadJson):
        decode_json(body)


def test_text_is_cut_and_cleaned() -> None:
    assert storable_text("Zoe \ud83d\x00!", 6) == "Zoe \ufffd\ufffd"


@pytest.mark.parametrize("value", ["a\x00", {"\ud800": 1}, [{"a": [math.inf]}], 10**200, (math.nan,)])
def test_unstorable_values_are_found_at_any_depth_and_repaired(value: object) -> None:
    assert find_unstorable(value)
    assert find_unstorable(storable_json(value)) is None


@pytest.mark.parametrize("value", ["Zoé \U0001f600", 2**64, -0.0, 1.5, True, None, {"a": [1, "b"]}])
def test_storable_values_are_left_alone(value: object) -> None:
    assert find_unstorable(value) is None
    assert storable_json(value) == value


@pytest.mark.parametrize(
    "deep",
    [
        "[" * 250 + "]" * 250,
        "[" * 100_000 + "]" * 100_000,
        '{"a":' * 5_000 + "1" + "}" * 5_000,
        '["]",' * 200 + "1" + "]" * 200,
    ],
)
def test_deep_nesting_does_not_affect_neighbours(deep: str) -> None:
    decoded = decode_json(b'{"before": "]\\"[", "deep": %s, "after": [1]}' % deep.encode())
    assert (decoded["before"], decoded["after"]) == (']"[', [1])
    json.dumps(storable_json(decoded))


def test_brackets_in_strings_are_not_nesting() -> None:
    value = {"a": "[" * 500, "b": ['{"' * 300, "\\"], "c": [[[{}]]]}
    assert decode_json(json.dumps(value).encode()) == value


@pytest.mark.parametrize("body", [b"[" * 300, b'{"a": ' * 300 + b'"', b'"' + b'\\"' * 100_000, b"]" * 300])
def test_deep_nesting_that_is_not_json_is_refused(body: bytes) -> None:
    with pytest.raises(BadJson):
        decode_json(body)


@pytest.mark.parametrize("end", ["\\", '"\\', "x\\", "\\u", ""])
def test_unterminated_text_is_rejected_in_one_pass(end: str) -> None:
    # Half of a webhook's largest body: with a scanner that goes back for each quotation mark this takes
    # minutes.
    body = "[" * 101 + '"\\' * 60_000 + end
    began = time.process_time()
    with pytest.raises(BadJson):
        decode_json(body.encode())
    assert time.process_time() - began < 2.0


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("-0.0", "0.0"),
        ("1e16", "10000000000000000"),
        ("1e308", "null"),
        ("1.0", "1.0"),
        ("-1e20", "-100000000000000000000"),
    ],
)
def test_numbers_are_preserved_by_both_databases(text: str, value: str) -> None:
    assert json.dumps(decode_json(text.encode())) == value


def test_a_damaged_string_is_scanned_only_once() -> None:
    """Deep enough to be pruned, with a string that ends in a lone backslash: linear in 200,000 characters,
    not quadratic.
    """
    body = b"[" * 200 + b'"' + b'\\"' * 100_000 + b"\\"

    with pytest.raises(BadJson):
        decode_json(body)
