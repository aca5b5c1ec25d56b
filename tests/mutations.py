"""Mutations of real-looking JSON: what a peer with a fault, or with bad intentions, might send.

`mutated(values)` takes a strategy of plain JSON values and yields them with one to four changes: fields
dropped, renamed, retyped, copied, swapped, lists repeated, odd strings and numbers put in. `bodies(values)`
yields the same as bytes, sometimes with damage that only bytes can have: invalid UTF-8, a byte order mark,
duplicate keys, trailing garbage, a body cut short.

Nothing here knows what the values mean, so that deliveries (tests/property/test_fuzz_intake.py) and answers
of RingCentral use the same mutations. Some values cannot be written by `json.dumps` (1e400, an integer of
4,400 digits, a list nested 100,000 deep): they are `Raw` until `dump` puts their text into the body.
"""

import json
import re
from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any

from hypothesis import strategies as st

Json = Any
Path = tuple[str | int, ...]

_RAW = "@raw@"
_RAW_IN_TEXT = re.compile(r'"@raw@([^"]*)"')


class Raw(str):
    """JSON text that `dump` writes without quotes. It must not contain a quotation mark."""

    __slots__ = ()

    def __new__(cls, text: str) -> "Raw":
        return super().__new__(cls, _RAW + text)

    def __deepcopy__(self, _memo: Any) -> "Raw":
        return self


ODD_STRINGS: tuple[str, ...] = (
    "", " ", "0", "~", "null", "true", "-1", "NaN", "s-", "p--1",
    "\x00", "a\x00b", "\ud83d", "Zoe \ud83d", "\udc00\ud800", "\ufeff", "\ufffe", "\u2028", "\u202e", "\x7f\x9b",
    "e\u0301" * 3, "\U0001f600", "\U0001f600" * 130, "ß" * 128,
    "x" * 127, "x" * 128, "x" * 129, "x" * 160, "x" * 161, "x" * 255, "x" * 256, "x" * 257, "x" * 5000,
    "+" + "5" * 128, "9" * 300, "2147483648", "18446744073709551617",
    "0000-00-00T00:00:00Z", "9999-12-31T23:59:59.999Z", "0001-01-01T00:00:00+14:00", "2026-02-30T00:00:00Z",
    "2026-03-10T18:07:41+99:99", "2099-12-31T23:59:59-23:59", "2000-01-01T00:00:00+23:59", "2026-03-10T24:00:00Z",
    "'; DROP TABLE calls; --", "%s%n", "{}", "../../etc/passwd", "call_00000000000000000000000000", "no-session:1",
)  # fmt: skip

ODD_NUMBERS: tuple[Any, ...] = (
    0, -0.0, -1, 1, 1.5, 1e-320, 1e10, 1e17, 1e308, -1e308, 2**31 - 1, 2**31, -(2**31), 2**32, 2**53 + 1, 2**63 - 1,
    2**63, -(2**63) - 1, 2**64 + 1, 10**127, 10**128, 10**309, float("nan"), float("inf"), float("-inf"),
    Raw("1e400"), Raw("-1e400"), Raw("9" * 4400), Raw("-" + "9" * 4400), Raw("1.0e-99999"), Raw("0." + "1" * 400),
)  # fmt: skip

ODD_SHAPES: tuple[Any, ...] = (
    None, True, False, [], {}, [None], [[]], {"": None}, {"\x00": "\ud800"}, ["x", {"id": "x"}], [1, "1", None, {}],
    Raw("[" * 30 + "]" * 30), Raw("[" * 250 + "]" * 250), Raw("[" * 100_000 + "]" * 100_000),
    Raw("[" * 1000),
)  # fmt: skip

_odd_values = st.one_of(
    st.sampled_from(ODD_STRINGS),
    st.sampled_from(ODD_NUMBERS),
    st.sampled_from(ODD_SHAPES),
    st.text(max_size=12),
    st.text(alphabet=st.characters(categories=["Cc", "Cs", "Cf", "Zl", "Zp"]), min_size=1, max_size=4),
    st.integers(),
    st.floats(),
)
_lengths = st.sampled_from([2, 3, 8, 60, 200, 2100])


@st.composite
def mutated(draw: st.DrawFn, values: st.SearchStrategy[Json]) -> Json:
    """Yield values with one to four mutations each."""
    value = deepcopy(draw(values))
    for _ in range(draw(st.integers(1, 4))):
        places = _places(value)
        path = places[draw(st.integers(0, len(places) - 1))]
        mutate = draw(st.sampled_from(_MUTATIONS))
        value = _changed(value, path, lambda old, change=mutate: change(draw, old))  # type: ignore[misc]
    return value


@st.composite
def bodies(draw: st.DrawFn, values: st.SearchStrategy[Json]) -> bytes:
    """Yield values as bytes: most are mutated, one in four has damaged bytes, one in eight is unchanged."""
    kind = draw(st.integers(0, 7))
    body = dump(draw(values if kind == 0 else mutated(values)), escaped=draw(st.booleans()))
    return draw(st.sampled_from(_DAMAGES))(draw, body) if kind in (1, 2) else body


def dump(value: Json, *, escaped: bool = True) -> bytes:
    """Write a value as JSON. Not escaped, lone surrogates become bytes that are not UTF-8."""
    text = json.dumps(value, ensure_ascii=escaped)
    return _RAW_IN_TEXT.sub(r"\1", text).encode("utf-8", "surrogatepass")


# Where something can be changed


def _places(value: Json, path: Path = ()) -> list[Path]:
    found: list[Path] = [path]
    if isinstance(value, dict):
        for key, item in value.items():
            found += _places(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value[:20]):
            found += _places(item, (*path, index))
    return found


_DROPPED = object()


def _changed(value: Json, path: Path, change: Callable[[Json], Json]) -> Json:
    """Return the value with what stands at `path` changed; the value itself may be modified."""
    if not path:
        new = change(value)
        return None if new is _DROPPED else new
    parent = value
    for step in path[:-1]:
        parent = parent[step]
    new = change(parent[path[-1]])
    if new is _DROPPED:
        del parent[path[-1]]
    else:
        parent[path[-1]] = new
    return value


# Mutations of a value


def _drop(_draw: st.DrawFn, _old: Json) -> Json:
    return _DROPPED


def _replace(draw: st.DrawFn, _old: Json) -> Json:
    return deepcopy(draw(_odd_values))  # a later mutation may change it in place


def _retype(draw: st.DrawFn, old: Json) -> Json:
    ways: Sequence[Callable[[Json], Json]] = (
        str, lambda old: [old], lambda old: {"id": old}, lambda old: json.dumps(old, default=str), bool,
        lambda old: int(old) if isinstance(old, str) and old.isdecimal() and len(old) < 400 else 0,
    )  # fmt: skip
    return draw(st.sampled_from(ways))(old)


def _twist_text(draw: st.DrawFn, old: Json) -> Json:
    """Put something odd into a text, or make it longer: the id stays nearly the same."""
    text = old if isinstance(old, str) and not isinstance(old, Raw) else "x"
    at = draw(st.integers(0, len(text)))
    return text[:at] + draw(st.sampled_from(ODD_STRINGS)) + text[at:]


def _repeat(draw: st.DrawFn, old: Json) -> Json:
    """Make a list long, of copies or of items that differ in all their ids."""
    items = old if isinstance(old, list) and old else [old]
    count = draw(_lengths)
    if draw(st.booleans()):
        return [deepcopy(items[index % len(items)]) for index in range(count)]
    return [_numbered(items[index % len(items)], index) for index in range(count)]


def _numbered(item: Json, index: int) -> Json:
    if isinstance(item, dict):
        return {key: f"{old}{index}" if key.lower().endswith("id") else old for key, old in item.items()}
    return f"{item}{index}" if isinstance(item, str) and not isinstance(item, Raw) else item


def _shuffle(draw: st.DrawFn, old: Json) -> Json:
    """Swap the values of two fields, or turn a list around."""
    if isinstance(old, list):
        return old[::-1]
    if not isinstance(old, dict) or len(old) < 2:
        return old
    one, other = draw(st.sampled_from(sorted(old))), draw(st.sampled_from(sorted(old)))
    return {**old, one: old[other], other: old[one]}


def _rename(draw: st.DrawFn, old: Json) -> Json:
    if not isinstance(old, dict) or not old:
        return old
    key = draw(st.sampled_from(sorted(old)))
    new = draw(st.sampled_from([key.upper(), key + " ", "__proto__", "", "\x00", "\ud800", key + "\u0301"]))
    return {new if name == key else name: item for name, item in old.items()}


def _add(draw: st.DrawFn, old: Json) -> Json:
    extra = deepcopy(draw(_odd_values))
    if isinstance(old, dict):
        return {**old, draw(st.sampled_from(["extra", "", "\x00", "x" * 300])): extra}
    return [*old, extra] if isinstance(old, list) else [old, extra]


_MUTATIONS = (
    _drop,
    _replace,
    _replace,
    _replace,
    _retype,
    _twist_text,
    _twist_text,
    _repeat,
    _shuffle,
    _rename,
    _add,
)


# Damage of bytes


def _flip(draw: st.DrawFn, body: bytes) -> bytes:
    at = draw(st.integers(0, max(0, len(body) - 1)))
    odd = draw(
        st.sampled_from([b"\xff", b"\xc3", b"\x00", b"\xed\xa0\xbd", b"\x80", b"\\u0000", b"\\ud83d", b'"'])
    )
    return body[:at] + odd + body[at + draw(st.integers(0, 1)) :]


def _cut(draw: st.DrawFn, body: bytes) -> bytes:
    return body[: draw(st.integers(0, len(body)))]


def _surround(draw: st.DrawFn, body: bytes) -> bytes:
    before = draw(st.sampled_from([b"", b"\xef\xbb\xbf", b"\xff\xfe", b"\x1f\x8b", b"  \n", b")]}',\n"]))
    return before + body + draw(st.sampled_from([b"", b"\n", b"\x00", b"{}", b",", b"garbage", b" " * 1000]))


def _recode(draw: st.DrawFn, body: bytes) -> bytes:
    text = body.decode("utf-8", "replace")
    return text.encode(draw(st.sampled_from(["utf-16", "utf-32", "latin-1", "utf-16-le"])), "replace")


_KEY = re.compile(rb'"(\w+)": ')


def _double_key(draw: st.DrawFn, body: bytes) -> bytes:
    keys = list(_KEY.finditer(body[:20_000]))
    if not keys:
        return body
    found = keys[draw(st.integers(0, len(keys) - 1))]
    other = draw(st.sampled_from([b"1", b"null", b'"x"', b"{}", b"[]", b"NaN"]))
    return body[: found.start()] + found[0] + other + b", " + body[found.start() :]


_DAMAGES = (_flip, _flip, _cut, _surround, _recode, _double_key)
