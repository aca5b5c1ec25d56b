"""The API breaks no client of the released one, and each way of breaking one is found."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.description.compatibility import CLOSED, find_breaks, shape_of
from tests.description.released import describe, read

Json = dict[str, Any]


@pytest.fixture(scope="module")
def current() -> Json:
    described: Json = shape_of(describe())
    return described


def test_the_api_breaks_no_client_of_the_released_one(current: Json) -> None:
    """If this fails, keep what clients use and deprecate it: docs/api/versioning.md says how."""
    assert find_breaks(read(), current) == []


def test_each_closed_enumeration_exists_and_is_on_the_page(current: Json) -> None:
    page = (Path(__file__).parents[2] / "docs/api/versioning.md").read_text()
    for name in CLOSED:
        schema, _, field = name.partition(".")
        found = current["components"]["schemas"][schema]
        assert f"`{name}`" in page
        assert "enum" in (found["properties"][field] if field else found), name


# Each line: what clients stumble over, and a change that brings it.

Change = Callable[[Json], Any]


def schema(description: Json, name: str) -> Json:
    found: Json = description["components"]["schemas"][name]
    return found


def properties(description: Json, name: str) -> Json:
    found: Json = schema(description, name)["properties"]
    return found


def operation(description: Json, name: str) -> Json:
    method, path = name.split()
    found: Json = description["paths"][path][method.lower()]
    return found


def parameter(description: Json, name: str) -> Json:
    return next(one for one in operation(description, "GET /v1/calls")["parameters"] if one["name"] == name)


NEW = {"name": "new", "in": "query", "schema": {"type": "string"}}
BREAKS: dict[str, Change] = {
    "GET /v1/me: is gone": lambda it: it["paths"].pop("/v1/me"),
    "DELETE /v1/calls/{call}/links/{crm}: is gone": (
        lambda it: it["paths"]["/v1/calls/{call}/links/{crm}"].pop("delete")
    ),
    "GET /v1/calls: operationId list, was list_calls": (
        lambda it: operation(it, "GET /v1/calls").update(operationId="list")
    ),
    "GET /healthz: needs a key": lambda it: operation(it, "GET /healthz").update(security=[{"apiKey": []}]),
    "GET /v1/calls: parameter main: is gone": (
        lambda it: operation(it, "GET /v1/calls")["parameters"].remove(parameter(it, "main"))
    ),
    "GET /v1/calls: parameter new: is new and required": (
        lambda it: operation(it, "GET /v1/calls")["parameters"].append(NEW | {"required": True})
    ),
    "GET /v1/calls: parameter main: is required": lambda it: parameter(it, "main").update(required=True),
    "GET /v1/calls: parameter limit: maximum 50, was 200": (
        lambda it: parameter(it, "limit")["schema"].update(maximum=50)
    ),
    "GET /v1/calls: parameter limit: default 10, was 50": (
        lambda it: parameter(it, "limit")["schema"].update(default=10)
    ),
    "GET /v1/calls: response 200: header Link is gone": (
        lambda it: operation(it, "GET /v1/calls")["responses"]["200"]["headers"].pop("Link")
    ),
    "GET /v1/calls/{call}: response 304: is gone": (
        lambda it: operation(it, "GET /v1/calls/{call}")["responses"].pop("304")
    ),
    "GET /v1/recordings/{recording_id}/content: response 200: audio/mpeg is gone": (
        lambda it: operation(it, "GET /v1/recordings/{recording_id}/content")["responses"]["200"][
            "content"
        ].pop("audio/mpeg")
    ),
    "response 200.data[].result: is gone": lambda it: properties(it, "CallOut").pop("result"),
    "response 200.data[].version: is required, but may be missing": (
        lambda it: schema(it, "CallOut")["required"].remove("version")
    ),
    "response 200.data[].version: ['integer', 'null'] instead of integer": (
        lambda it: properties(it, "CallOut").update(version={"type": ["integer", "null"]})
    ),
    "response 200.data[].externalNumber: number is not one of string, null": (
        lambda it: properties(it, "CallOut")["externalNumber"]["anyOf"].append({"type": "number"})
    ),
    "stage: also ['lost']": lambda it: schema(it, "Stage")["enum"].append("lost"),
    "state: also ['unknown']": lambda it: properties(it, "Readiness")["state"]["enum"].append("unknown"),
    "request.color: is required, but may be missing": (
        lambda it: (
            schema(it, "NoteIn")["required"].append("color"),
            properties(it, "NoteIn").update(color={"type": "string"}),
        )
    ),
    "request.externalId: is refused": lambda it: properties(it, "NoteIn").pop("externalId"),
    "request.format: also ['html']": lambda it: schema(it, "NoteFormat")["enum"].remove("html"),
    "request.text: maxLength 100, was 65536": (
        lambda it: properties(it, "NoteIn")["text"].update(maxLength=100)
    ),
    "POST /v1/calls/{call}/notes: request: application/json is not accepted": (
        lambda it: operation(it, "POST /v1/calls/{call}/notes")["requestBody"].update(content={})
    ),
    "GET /v1/calls/{call}/links: request: a body is required": (
        lambda it: operation(it, "GET /v1/calls/{call}/links").update(requestBody={"required": True})
    ),
    "is not one of": lambda it: properties(it, "CallLiveChange")["type"].update(const="call.born"),
}  # fmt: skip
ALLOWED: dict[str, Change] = {
    "an operation": lambda it: it["paths"].update({"/v1/new": {"get": {"responses": {}}}}),
    "a parameter": lambda it: operation(it, "GET /v1/calls")["parameters"].append(NEW),
    "a field of a response": lambda it: properties(it, "CallOut").update(new={"type": "string"}),
    "an error": lambda it: operation(it, "GET /v1/calls")["responses"].update({"429": {}}),
    "a field of a request": lambda it: properties(it, "NoteIn").update(new={"type": "string"}),
    "a value of a request": lambda it: schema(it, "NoteFormat")["enum"].append("rtf"),
    "a value of an open enumeration": lambda it: schema(it, "WarningCode")["enum"].append("new"),
    "a wider limit": lambda it: parameter(it, "limit")["schema"].update(maximum=1000),
    "a field that is always there": lambda it: schema(it, "Readiness")["required"].append("since"),
    "a field that is never null": lambda it: properties(it, "CallOut").update(result={"type": "string"}),
    "a type of change": lambda it: (
        properties(it, "Changes")["data"]["items"]["oneOf"].append({"$ref": "#/components/schemas/Me"}),
        properties(it, "Changes")["data"]["items"]["discriminator"]["mapping"].update(
            {"call.new": "#/components/schemas/Me"}
        ),
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", BREAKS)
def test_a_breaking_change_is_found(current: Json, what: str) -> None:
    changed = copy.deepcopy(current)
    BREAKS[what](changed)
    assert [found for found in find_breaks(current, changed) if what in found]


@pytest.mark.parametrize("what", ALLOWED)
def test_what_the_policy_allows_breaks_nothing(current: Json, what: str) -> None:
    changed = copy.deepcopy(current)
    ALLOWED[what](changed)
    assert changed != current
    assert find_breaks(current, changed) == []
