"""Whether every value that one JSON schema accepts is accepted by another: pure, by their structure.

Conservative: what is not understood counts as a difference. Each schema belongs to a description, which holds
what its references name.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]

_NOTES = {
    "title", "description", "example", "examples", "default", "deprecated", "readOnly", "discriminator",
    "x-sunset", "contentMediaType",
}  # fmt: skip
"""Keywords that accept and refuse nothing."""

_LEAST = {"minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties"}
_MOST = {"maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties"}
_COMBINED = {"anyOf", "oneOf", "allOf", "$ref"}
_TYPES = {str: "string", bool: "boolean", int: "integer", float: "number", list: "array", dict: "object"}


@dataclass(frozen=True, slots=True)
class Containment:
    """Compares schemas of two descriptions. `narrow`: of what is sent; `wide`: of what must accept it.

    `open_choices`: further values of an enumeration, and further variants of a union with a discriminator,
    are no difference, except in the enumerations `closed` (names of schemas, or `Schema.field`).
    """

    narrow: Json
    wide: Json
    open_choices: bool = False
    closed: frozenset[str] = frozenset()
    _seen: set[tuple[str, str]] = field(default_factory=set)

    def differences(self, narrow: Any, wide: Any, place: str = "", name: str = "") -> Iterator[str]:
        """Yield why values of `narrow` are refused by `wide`, each with its place. `name`: of the schema."""
        narrow, wide = _as_schema(narrow), _as_schema(wide)
        if {"$ref"} == narrow.keys() - _NOTES and {"$ref"} == wide.keys() - _NOTES:
            pair = (narrow["$ref"], wide["$ref"])
            if pair in self._seen:
                return  # compared already, or a schema within itself
            self._seen.add(pair)
        name = _name_of(wide) or name
        narrow, wide = _resolve(self.narrow, narrow), _resolve(self.wide, wide)
        yield from self._to_base(narrow, wide, place, name)
        for part in wide.get("allOf", []):
            yield from self.differences(narrow, part, place, name)
        for word in ("anyOf", "oneOf"):
            if word in wide:
                yield from self._to_union(narrow, wide, word, place, name)

    def accepts(self, narrow: Any, wide: Any, name: str) -> bool:
        trial = Containment(self.narrow, self.wide, self.open_choices, self.closed, set(self._seen))
        return next(trial.differences(narrow, wide, "", name), None) is None

    def _to_union(self, narrow: Json, wide: Json, word: str, place: str, name: str) -> Iterator[str]:
        choices = wide[word]
        if word == "oneOf" and "discriminator" not in wide:
            # Whether a value fits several of them is not examined.
            if narrow.get("oneOf") != choices:
                yield f"{place}: oneOf {choices}, was {narrow.get('oneOf')}"
            return
        parts = list(_alternatives(narrow))
        if self.open_choices and "discriminator" in narrow and "discriminator" in wide:
            known = wide["discriminator"].get("mapping", {}).keys()
            mapping = narrow["discriminator"].get("mapping", {})
            parts = [{"$ref": reference} for key, reference in mapping.items() if key in known]
        for part in parts:
            accepting = sum(self.accepts(part, choice, name) for choice in choices)
            if not accepting or (accepting > 1 and word == "oneOf"):
                yield f"{place}: {_show(part)} is not one of {', '.join(map(_show, choices))}"

    def _to_base(self, narrow: Json, wide: Json, place: str, name: str) -> Iterator[str]:
        """Compare with the keywords of `wide` itself. Each variant of `narrow` has to obey them."""
        base = {key: value for key, value in wide.items() if key not in _COMBINED | _NOTES}
        if not base:
            return
        for variant in _variants(self.narrow, narrow):
            yield from self._keywords(variant, base, place, name)

    def _keywords(self, narrow: Json, wide: Json, place: str, name: str) -> Iterator[str]:
        values = narrow["enum"] if "enum" in narrow else [narrow["const"]] if "const" in narrow else None
        for key, value in wide.items():
            match key:
                case "type" if not _types_of(narrow, values) <= _with_integers(value):
                    yield f"{place}: {_show(narrow)} instead of {_show(wide)}"
                case "enum" | "const":
                    yield from self._choices(values, [value] if key == "const" else value, place, name)
                case "properties" | "required" | "additionalProperties":
                    pass  # below, together
                case "items":
                    yield from self.differences(narrow.get("items", {}), value, f"{place}[]", name)
                case _ if key in _LEAST and not (key in narrow and narrow[key] >= value):
                    yield f"{place}: {key} {value}, was {narrow.get(key, 'not limited')}"
                case _ if key in _MOST and not (key in narrow and narrow[key] <= value):
                    yield f"{place}: {key} {value}, was {narrow.get(key, 'not limited')}"
                case _ if key in _LEAST | _MOST | {"type"} or narrow.get(key) == value:
                    pass
                case _:
                    yield f"{place}: {key} {value!r}, was {narrow.get(key)!r}"
        if not {"properties", "required", "additionalProperties"}.isdisjoint(wide):
            yield from self._object(narrow, wide, place, name)

    def _choices(self, values: list[Any] | None, known: list[Any], place: str, name: str) -> Iterator[str]:
        if values is None:
            yield f"{place}: any value instead of one of {known}"
            return
        own_place = f"{name}.{place.rpartition('.')[2].replace('[]', '')}"
        is_open = self.open_choices and self.closed.isdisjoint({name, own_place}) and len(known) > 1
        further = [value for value in values if not any(_equal(value, one) for one in known)]
        if further and not is_open:
            yield f"{place}: also {further}"

    def _object(self, narrow: Json, wide: Json, place: str, name: str) -> Iterator[str]:
        ours, theirs = narrow.get("properties", {}), wide.get("properties", {})
        if "object" not in _types_of(narrow, None):
            return  # its type differs, which is said, or it is no object at all
        rest, allowed_rest = narrow.get("additionalProperties", True), wide.get("additionalProperties", True)
        for key, schema in theirs.items():
            sent = ours.get(key, rest)
            if sent is not False:
                yield from self._field(key, sent, schema, place, name, is_known=key in ours)
        for key in set(wide.get("required", [])) - set(narrow.get("required", [])):
            yield f"{place}.{key}: is required, but may be missing"
        if allowed_rest is True:
            return
        for key, schema in ours.items():
            if key not in theirs:
                yield from self._field(key, schema, allowed_rest, place, name, is_known=True)
        if rest is not False:
            yield from self._field("*", rest, allowed_rest, place, name, is_known=True)

    def _field(
        self, key: str, sent: Any, schema: Any, place: str, name: str, *, is_known: bool
    ) -> Iterator[str]:
        if schema is False:
            yield f"{place}.{key}: is refused"
        elif not is_known and sent is True and _as_schema(schema).keys() - _NOTES:
            yield f"{place}.{key}: is gone"
        else:
            yield from self.differences(sent, schema, f"{place}.{key}", name)


def _as_schema(schema: Any) -> Json:
    return {} if schema is True else {"not": {}} if schema is False else dict(schema)


def _resolve(description: Mapping[str, Any], schema: Json) -> Json:
    """Follow the reference of a schema. Its other keywords hold as well."""
    if "$ref" not in schema:
        return schema
    found: Any = description
    for part in schema["$ref"].removeprefix("#/").split("/"):
        found = found[part.replace("~1", "/").replace("~0", "~")]
    found = _resolve(description, dict(found))
    own = {key: value for key, value in schema.items() if key != "$ref" and key not in _NOTES}
    return {**found, **own} if own.keys().isdisjoint(found) else {"allOf": [found, own]}


def _name_of(schema: Json) -> str:
    return str(schema.get("$ref", "")).rpartition("/")[2]


def _alternatives(schema: Json) -> Iterator[Json]:
    """Split a schema into parts, one of which accepts each of its values."""
    for word in ("anyOf", "oneOf"):
        if word in schema:
            rest = {key: value for key, value in schema.items() if key != word}
            for part in map(_as_schema, schema[word]):
                # A part of another type than the rest accepts nothing.
                if not {"type"} <= rest.keys() & part.keys() or _types_of(rest, None) & _types_of(part, None):
                    yield _both(rest, part)
            return
    yield schema


def _variants(description: Json, schema: Json) -> Iterator[Json]:
    """Yield the parts of a schema, with nothing to resolve in them at their top."""
    schema = _resolve(description, schema)
    parts = list(_alternatives(schema))
    if parts == [schema]:
        yield schema
        return
    for part in parts:
        yield from _variants(description, part)


def _both(one: Json, other: Json) -> Json:
    """Return a schema that is obeyed by what obeys both; wider than that where both have a keyword."""
    merged = {**{key: value for key, value in one.items() if key not in _NOTES}, **other}
    if "properties" in one or "properties" in other:
        ours, theirs = one.get("properties", {}), other.get("properties", {})
        shared = {key: _both(ours[key], theirs[key]) for key in ours.keys() & theirs.keys()}
        merged["properties"] = {**ours, **theirs, **shared}
    if "additionalProperties" in one:
        merged["additionalProperties"] = one["additionalProperties"]
    if "required" in one and "required" in other:
        merged["required"] = sorted({*one["required"], *other["required"]})
    return merged


def _types_of(schema: Json, values: list[Any] | None) -> set[str]:
    if "type" in schema:
        given = schema["type"]
        return {given} if isinstance(given, str) else set(given)
    if values is not None:
        return {"null" if value is None else _TYPES[type(value)] for value in values}
    return {*_TYPES.values(), "null"}


def _with_integers(given: Any) -> set[str]:
    types = {given} if isinstance(given, str) else set(given)
    return types | {"integer"} if "number" in types else types


def _equal(one: Any, other: Any) -> bool:
    return type(one) is type(other) and bool(one == other)


def _show(schema: Any) -> str:
    schema = _as_schema(schema)
    if "$ref" in schema:
        return _name_of(schema)
    for word in ("enum", "const", "type"):
        if word in schema:
            return str(schema[word])
    return "a union" if {"anyOf", "oneOf"} & schema.keys() else "anything"
