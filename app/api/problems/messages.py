"""Says in plain words what is wrong with a request; no I/O.

Pydantic speaks to whoever wrote the model ("Input should be a valid dictionary or instance of NoteIn"). Whoever
sends JSON is told what is accepted, and what kind of thing came instead. What came is never repeated: it may be
somebody's phone number.
"""

from collections.abc import Collection, Mapping
from difflib import get_close_matches
from typing import Any

_LONGEST_NAME = 64

_KINDS = (
    ("A string", "a string", ("string_type",)),
    ("A whole number", "a number", ("int_type", "int_parsing", "int_parsing_size", "int_from_float")),
    ("A number", "a number", ("float_type", "float_parsing")),
    ("A finite number", "a number", ("finite_number",)),
    ("True or false", "a boolean", ("bool_type", "bool_parsing")),
    ("An array", "an array", ("list_type",)),
    ("An object", "an object", ("dict_type", "model_type", "model_attributes_type")),
    (
        "A time such as 2026-03-10T18:00:00Z (RFC 3339)",
        "a string",
        ("datetime_type", "datetime_parsing", "datetime_from_date_parsing", "datetime_object_invalid"),
    ),
    ("A time with its offset, such as 2026-03-10T19:00:00+01:00 or with Z,", "a string", ("timezone_aware",)),
)
_EXPECTED = {error: (words, kind) for words, kind, errors in _KINDS for error in errors}
"""By the type of pydantic's error: what is expected, and which kind of JSON that is."""

_SENTENCES = {
    "missing": "This is required",
    "extra_forbidden": "There is no such field",
    "enum": "One of these is expected: {expected}",
    "literal_error": "One of these is expected: {expected}",
    "greater_than": "A number above {gt} is expected",
    "greater_than_equal": "A number of at least {ge} is expected",
    "less_than": "A number below {lt} is expected",
    "less_than_equal": "A number of at most {le} is expected",
    "string_too_short": "The least number of characters is {min_length}",
    "string_too_long": "The greatest number of characters is {max_length}",
    "string_pattern_mismatch": "Text of this form is expected: {pattern}",
    "string_unicode": "Text in UTF-8 is expected",
    "too_short": "The least number of items is {min_length}, and {actual_length} came",
    "too_long": "The greatest number of items is {max_length}, and {actual_length} came",
}
"""By the type of pydantic's error: the whole sentence; in braces what the error's context holds."""


def plain(error: Mapping[str, Any]) -> str:
    """Return what one error of pydantic's means to whoever sent the request; an unusual one in pydantic's words."""
    name = error["type"]
    if name in _EXPECTED:
        words, kind = _EXPECTED[name]
        came = _kind_of(error.get("input"))
        # All that stands in an address or a header is text; only a body has kinds.
        instead = f", not {came}" if error["loc"][0] == "body" and came != kind else ""
        return f"{words} is expected{instead}"
    if name in _SENTENCES:
        context = {key: _shown(value) for key, value in (error.get("ctx") or {}).items()}
        return _SENTENCES[name].format_map(context)
    return str(error["msg"]).removeprefix("Value error, ")


def unknown(what: str, name: str, known: Collection[str]) -> str:
    """Say that there is no parameter or field (`what`) of this name, and which one was probably meant."""
    alike = {_bare(one): one for one in known}
    nearest = get_close_matches(_bare(name), alike, n=1)
    if nearest:
        hint = f"did you mean `{alike[nearest[0]]}`?"
    elif known:
        hint = f"there are {', '.join(sorted(known))}"
    else:
        hint = "there are none here"
    return f"There is no {what} `{name[:_LONGEST_NAME]}`; {hint}"


def _bare(name: str) -> str:
    """Return a name without what people vary: `started_after` is `startedAfter`."""
    return name.replace("_", "").replace("-", "").casefold()[:_LONGEST_NAME]


def _kind_of(value: Any) -> str:
    """Name a value in JSON's words."""
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str() | bytes():
            return "a string"
        case list():
            return "an array"
        case _:
            return "an object"


def _shown(value: Any) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).replace("'", "")
