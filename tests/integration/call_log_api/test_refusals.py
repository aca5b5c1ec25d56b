"""What every route of the API refuses, with a problem that says why."""

import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.described import describe
from tests.fakes.reader_stage import Json, Stage, simulated, staged

PATH_VALUES = {
    "call": "1229016182016",
    "noteId": "note_01kdv6x3q8m7a2c5e9r4t1y6wz",
    "source": "ringsense",
    "crm": "hubspot",
    "extension_id": "711000101",
    "record_id": "QX7f14l8Nt_2aVB",
    "recording_id": "3019664700",
    "conversation": "1229016182016",
    "version": "1",
    "link": "listen_01jp0v7s4v8x2m6c9q3t5r7w1e",
    "extension": "711000101",
    "voicemail_id": "1337",
    "account": "908070001",
    "name": "ext-711000101",
    "keyId": "key_01kdv6x3q8m7a2c5e9r4t1y6wz",
    "endpoint": "whe_01kdv6x3q8m7a2c5e9r4t1y6wz",
    "attempt": "att_01kdv6x3q8m7a2c5e9r4t1y6wz",
    "erasure": "erasure_01kdv6x3q8m7a2c5e9r4t1y6wz",
}


def operations() -> Iterator[tuple[str, str, Json]]:
    """Every (method, path, description) of the connector API, its path filled in."""
    paths = describe()["paths"]
    assert len(paths) > 20
    for path, methods in paths.items():
        if path.startswith("/v1/"):
            filled = re.sub(r"\{(\w+)\}", lambda found: PATH_VALUES[found[1]], path)
            yield from ((method.upper(), filled, described) for method, described in methods.items())


def only_error(answer: httpx.Response) -> Json:
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    (error,) = answer.json()["errors"]
    found: Json = error
    return found


async def test_no_route_ignores_a_parameter_that_it_does_not_have(stage: Stage) -> None:
    for method, path, _ in operations():
        error = only_error(await stage.reader.request(method, path, params={"nonsense": 1}))
        assert (error["in"], error["parameter"]) == ("query", "nonsense"), f"{method} {path}"


async def test_every_described_parameter_is_accepted(stage: Stage) -> None:
    for method, path, described in operations():
        if path.endswith("/stream"):
            continue
        names = [one["name"] for one in described.get("parameters", ()) if one["in"] == "query"]
        answer = await stage.reader.request(method, path, params=dict.fromkeys(names, "\0"))
        assert "Unknown parameter" not in answer.text, f"{method} {path}"


async def test_a_misspelled_parameter_suggests_the_nearest_one(stage: Stage) -> None:
    error = only_error(await stage.reader.get("/v1/calls/1229016182016", params={"wiat": 20}))
    assert error["detail"] == "Unknown parameter `wiat`; did you mean `wait`?"


async def test_unknown_parameters_are_accepted_outside_the_connector_api(stage: Stage) -> None:
    for path in ("/healthz", "/problems/not-found"):
        assert (await stage.reader.get(path, params={"nonsense": 1})).status_code == 200
    handshake = await stage.reader.post(
        "/webhooks/ringcentral?nonsense=1", headers={"Validation-Token": "an-echo"}
    )
    assert handshake.status_code == 200


async def test_a_missing_key_is_reported_first(stage: Stage) -> None:
    del stage.reader.headers["Authorization"]
    answer = await stage.reader.post("/v1/calls/batch-get?nonsense=1", content=b"x")
    assert answer.status_code == 401


@pytest.mark.parametrize(
    ("headers", "came"),
    [
        ({}, "without one"),
        ({"Content-Type": "text/plain; charset=utf-8"}, "as text/plain"),
        ({"Content-Type": "application/x-www-form-urlencoded"}, "as application/x-www-form-urlencoded"),
        ({"Content-Type": "application/jsonl"}, "as application/jsonl"),
    ],
)
async def test_a_body_that_is_not_sent_as_json_is_415(stage: Stage, headers: Any, came: str) -> None:
    with_body = [(method, path) for method, path, told in operations() if "requestBody" in told]
    assert len(with_body) > 5
    for method, path in with_body:
        answer = await stage.reader.request(method, path, content=b"{}", headers=headers)
        problem = answer.json()
        assert answer.status_code == 415, f"{method} {path}"
        assert (problem["type"], problem["fault"]) == ("/problems/unsupported-media-type", "caller")
        assert "application/json" in problem["detail"]
        assert problem["detail"].endswith(came)
        assert answer.headers["accept"] == "application/json"


@pytest.mark.parametrize(
    "media_type", ["application/json;charset=utf-8", "application/merge-patch+json", "Application/JSON"]
)
async def test_other_json_media_types_are_accepted(stage: Stage, media_type: str) -> None:
    answer = await stage.reader.post(
        "/v1/calls/batch-get", content=b'{"calls": ["1"]}', headers={"Content-Type": media_type}
    )
    assert answer.status_code == 200


@pytest.mark.parametrize("depth", [60, 100, 300, 700, 3_000, 100_000])
async def test_a_deeply_nested_body_is_refused(stage: Stage, depth: int) -> None:
    nested = b'{"label": "mixed", "original": ' + b"[" * depth + b"]" * depth + b"}"
    answer = await stage.reader.put(
        "/v1/calls/1229016182016/sentiments/tests",
        content=nested,
        headers={"Content-Type": "application/json"},
    )
    if depth <= 60:
        assert answer.status_code == 202
    elif depth <= 700:  # what the parser reads: the value that is too deep is named
        assert (answer.status_code, answer.json()["type"]) == (422, "/problems/invalid-request")
    else:
        assert (answer.status_code, answer.json()["type"]) == (400, "/problems/nested-too-deeply")


async def test_a_body_above_the_limit_is_413(stage: Stage) -> None:
    answer = await stage.reader.post("/v1/calls/batch-get", json={"calls": ["1" * 2_000_000]})
    assert (answer.status_code, answer.json()["type"]) == (413, "/problems/payload-too-large")


@pytest.mark.parametrize("recording_id", ["abc", "30196647a", "3019664700%20", "٣٠١٩"])
@pytest.mark.parametrize("end", ["", "/content"])
async def test_an_impossible_recording_id_is_refused_without_a_request(
    stage: Stage, recording_id: str, end: str
) -> None:
    error = only_error(await stage.reader.get(f"/v1/recordings/{recording_id}{end}"))
    assert error["detail"] == (
        "Must be RingCentral's id of a recording, which has only digits, such as 3019664700"
    )
    assert stage.asked() == []


@pytest.mark.parametrize(
    "path", ["/v1/active-calls", "/v1/call-log", "/v1/call-log/QX7f14l8Nt_2aVB", "/v1/recordings/3019664700"]
)
async def test_without_credentials_the_response_names_the_command(
    make_settings: Any, sqlite_url: str, path: str
) -> None:
    async with staged(make_settings, sqlite_url, simulated(), rc_jwt=None) as stage:
        answer = await stage.reader.get(path)
        problem = answer.json()
        assert (answer.status_code, problem["type"]) == (503, "/problems/no-credentials")
        assert problem["fault"] == "operator"
        assert "`aftercall check`" in problem["detail"]
        assert "retry-after" not in answer.headers, "waiting does not help"
