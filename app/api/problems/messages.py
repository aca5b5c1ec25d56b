"""Words for validation errors. No I/O.

Pydantic addresses the author of the model ("Input should be a valid dictionary or instance of NoteIn"). These
messages address the client: what is accepted, and which kind of JSON was sent. They never repeat the value,
which may be a phone number.
"""

from collections.abc import Collection, Mapping
from difflib import get_close_matches
from typing import Any

_LONGEST_NAME = 64

_KINDS = (
    ("a string", "a string", ("string_type",)),
    ("a whole number", "a number", ("int_type", "int_parsing", "int_parsing_size", "int_from_float")),
    ("a number", "a number", ("float_type", "float_parsing")),
    ("a finite number", "a number", ("finite_number",)),
    ("true or false", "a boolean", ("bool_type", "bool_parsing")),
    ("an array", "an array", ("list_type",)),
    ("an object", "an object", ("dict_type", "model_type", "model_attributes_type")),
    (
        "a time in the format of RFC 3339, such as 2026-03-10T18:00:00Z",
        "a string",
        ("datetime_type", "datetime_parsing", "datetime_from_date_parsing", "datetime_object_invalid"),
    ),
    ("a time with its offset, such as 2026-03-10T19:00:00+01:00 or Z", "a string", ("timezone_aware",)),
)
_EXPECTED = {error: (words, kind) for words, kind, errors in _KINDS for error in errors}
"""By the type of pydantic's error: what is expected, and which kind of JSON that is."""

_SENTENCES = {
    "missing": "This is required",
    "extra_forbidden": "Unknown field",
    "enum": "Must be one of {expected}",
    "literal_error": "Must be one of {expected}",
    "greater_than": "Must be greater than {gt}",
    "greater_than_equal": "Must be at least {ge}",
    "less_than": "Must be less than {lt}",
    "less_than_equal": "Must be at most {le}",
    "string_too_short": "The length must be at least {min_length}",
    "string_too_long": "The length must be at most {max_length}",
    "string_pattern_mismatch": "Must match the pattern {pattern}",
    "string_unicode": "Must be valid UTF-8",
    "too_short": "The number of items must be at least {min_length}, not {actual_length}",
    "too_long": "The number of items must be at most {max_length}, not {actual_length}",
}
"""By the type of pydantic's error: the whole sentence; in braces what the error's context holds."""


def describe_error(error: Mapping[str, Any]) -> str:
    """Return what one of pydantic's errors means to the client; unusual ones in pydantic's words."""
    name = error["type"]
    if name in _EXPECTED:
        words, kind = _EXPECTED[name]
        sent = _kind_of(error.get("input"))
        # URLs and headers hold only text; only a body has kinds of values.
        instead = f", not {sent}" if error["loc"][0] == "body" and sent != kind else ""
        return f"Must be {words}{instead}"
    if name in _SENTENCES:
        context = {key: _shown(value) for key, value in (error.get("ctx") or {}).items()}
        return _SENTENCES[name].format_map(context)
    return str(error["msg"]).removeprefix("Value error, ")


def describe_unknown(what: str, name: str, known: Collection[str]) -> str:
    """Say that no parameter or field (`what`) has this name, and suggest the nearest one."""
    alike = {_bare(one): one for one in known}
    nearest = get_close_matches(_bare(name), alike, n=1)
    if nearest:
        hint = f"did you mean `{alike[nearest[0]]}`?"
    elif known:
        hint = f"known are {', '.join(sorted(known))}"
    else:
        hint = "none are accepted here"
    return f"Unknown {what} `{name[:_LONGEST_NAME]}`; {hint}"


def _bare(name: str) -> str:
    """Return a name without what people vary: `started_after` is `startedAfter`."""
    return name.replace("_", "").replace("-", "").casefold()[:_LONGEST_NAME]


def _kind_of(value: Any) -> str:
    """Name the JSON type of a value."""
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
