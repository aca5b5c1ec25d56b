"""Write aftercall_client/models.py from the API description: a TypedDict for each schema that it needs.

python clients/python/generate.py       from the repository, with the service installed
"""

import keyword
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.description.released import describe

PATH = Path(__file__).with_name("aftercall_client") / "models.py"
ROOTS = (
    "BatchAnswer", "CallInsights", "CallOut", "Changes", "DispositionIn", "DispositionOut", "ExtensionOut",
    "LinkIn", "LinkOut", "Me", "NoteIn", "NoteList", "NoteOut", "ProjectionOut", "SentimentIn",
    "SentimentOut",
)  # fmt: skip
QUERIES = {
    "CallFilters": ("/v1/calls", {"cursor"}),
    "CallParameters": ("/v1/calls/{call}", {"wait", "until"}),
    "ExtensionFilters": ("/v1/extensions", {"cursor"}),
    "ProjectionParameters": ("/v1/calls/{call}/projections/{crm}", set[str]()),
}
"""Types of keyword arguments: the query parameters of a GET, without those that a method sets itself."""
HEAD = '''"""The shapes of requests and responses. Made by `generate.py`; do not edit.

All are plain dicts. Responses may have further fields, and enumerations further values, later.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal, NotRequired, TypeAlias, TypedDict
'''
TAIL = '''
class Resync(TypedDict):
    type: Literal["resync"]
    cursor: str
    callId: str
    sessionId: str | None
    telephonySessionId: str | None
    version: int
    at: str
    seq: None
    data: dict[str, Any]


"""A call of which changes were missed: read it again. Made by `follow`, after `cursor-expired`."""


Change: TypeAlias = '''
SIMPLE = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "null": "None"}


def write(description: dict[str, Any]) -> str:
    """Return the module."""
    schemas = description["components"]["schemas"]
    queries = {name: _query(description, *of) for name, of in QUERIES.items()}
    asked = [name for query in queries.values() for one in query for name in _references(one)]
    names = list(
        dict.fromkeys(name for root in [*ROOTS, *asked] for name in _reachable(schemas, root, set()))
    )
    parts = [_define(name, schemas[name]) for name in names if name != "Changes"]
    parts += [_define_query(name, query) for name, query in queries.items()]
    variants = schemas["Changes"]["properties"]["data"]["items"]["oneOf"]
    union = " | ".join([*(_type(one) for one in variants), "Resync"])
    return "\n\n".join([HEAD.rstrip(), *parts]) + "\n\n" + TAIL.lstrip() + union + "\n"


def _query(description: dict[str, Any], path: str, without: set[str]) -> list[dict[str, Any]]:
    """Return the query parameters of a GET."""
    parameters = description["paths"][path]["get"]["parameters"]
    return [one for one in parameters if one["in"] == "query" and one["name"] not in without]


def _define_query(name: str, parameters: list[dict[str, Any]]) -> str:
    """Return keyword arguments, in snake case; lists may be tuples, and times are datetimes or texts."""
    lines = []
    for one in parameters:
        snake = re.sub(r"([A-Z])", r"_\1", one["name"]).lower()
        kind = re.sub(r"^list\[", "Sequence[", _type(one["schema"]))
        if "date-time" in str(one["schema"]):
            kind = f"datetime | {kind}"
        lines.append(f"    {snake}: {kind}")
    return "\n".join([f"class {name}(TypedDict, total=False):", *lines])


def _reachable(schemas: dict[str, Any], name: str, seen: set[str]) -> Iterator[str]:
    """Yield a schema and what it refers to, what is referred to first."""
    if name in seen:
        return
    seen.add(name)
    for reference in _references(schemas[name]):
        yield from _reachable(schemas, reference, seen)
    yield name


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"].rpartition("/")[2]
        for part in node.values():
            yield from _references(part)
    elif isinstance(node, list):
        for part in node:
            yield from _references(part)


def _define(name: str, schema: dict[str, Any]) -> str:
    if schema.get("type") != "object" or "properties" not in schema:
        return f"{name}: TypeAlias = {_type(schema)}"
    required = set(schema.get("required", []))
    fields = {
        key: _type(field) if key in required else f"NotRequired[{_type(field)}]"
        for key, field in schema["properties"].items()
    }
    if any(keyword.iskeyword(key) for key in fields):
        lines = [
            f'    "{name}",',
            "    {",
            *(f'        "{key}": {kind},' for key, kind in fields.items()),
            "    },",
        ]
        return "\n".join([f"{name} = TypedDict(", *lines, ")"])
    lines = [f"    {key}: {kind}" for key, kind in fields.items()]
    return "\n".join([f"class {name}(TypedDict):", *lines])


def _type(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    for word in ("anyOf", "oneOf"):
        if word in schema and "properties" not in schema:
            return " | ".join(dict.fromkeys(_type(part) for part in schema[word]))
    if "enum" in schema or "const" in schema:
        return f"Literal[{', '.join(map(repr, schema.get('enum') or [schema['const']]))}]"
    match schema.get("type"):
        case "array":
            return f"list[{_type(schema.get('items', {}))}]"
        case "object":
            extra = schema.get("additionalProperties", True)
            return f"dict[str, {_type(extra)}]" if isinstance(extra, dict) else "dict[str, Any]"
        case str(kind):
            return SIMPLE[kind]
    return "Any"


if __name__ == "__main__":
    PATH.write_text(write(describe()))
