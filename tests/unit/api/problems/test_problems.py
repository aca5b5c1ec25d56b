"""Every error is a problem document (RFC 9457) that names where its cause is and contains nothing private."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Annotated, Any

import httpx
import pytest
from fastapi import FastAPI, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from app import errors
from app.api import problems
from tests.fakes.clock import FakeClock

RAISED: dict[str, Exception] = {}


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid")

    text: str
    score: float = Field(0, ge=-1, le=1)
    author: dict[str, int] | None = None


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(datetime(2026, 3, 10, 18, 7, 41, tzinfo=UTC))


@pytest.fixture
async def client(clock: FakeClock) -> AsyncIterator[httpx.AsyncClient]:
    app = FastAPI()
    problems.install(app)
    app.state.services = SimpleNamespace(clock=clock)

    @app.get("/raise/{name}")
    async def fail(name: str) -> None:
        raise RAISED[name]

    @app.post("/body")
    async def take(body: Body, limit: Annotated[int, Query(le=200)] = 1) -> None:
        return None

    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://aftercall.test") as opened:
        yield opened


async def problem_of(client: httpx.AsyncClient, error: Exception) -> tuple[httpx.Response, dict[str, Any]]:
    RAISED["it"] = error
    answer = await client.get("/raise/it")
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["status"] == answer.status_code
    assert body["instance"] == "/raise/it"
    return answer, body


def all_caller_errors(root: type[errors.CallerError] = errors.CallerError) -> list[type[errors.CallerError]]:
    below = [error for direct in root.__subclasses__() for error in all_caller_errors(direct)]
    return [root, *below]


def test_every_caller_error_has_an_explained_type() -> None:
    assert len(all_caller_errors()) > 10
    for error in all_caller_errors():
        assert problems.PROBLEM_TYPES[error.kind].remedy


@pytest.mark.parametrize("error", all_caller_errors())
async def test_a_caller_error_has_its_own_status(
    client: httpx.AsyncClient, error: type[errors.CallerError]
) -> None:
    raised = (
        error("too many", ["call_1", "call_2"])
        if error is errors.AmbiguousCall
        else error("why", hint="this")
    )
    answer, body = await problem_of(client, raised)
    assert answer.status_code == error.status
    assert (body["type"], body["title"], body["fault"]) == (f"/problems/{error.kind}", error.title, "caller")
    assert body.get("candidates", ["call_1", "call_2"]) == ["call_1", "call_2"]
    explained = await client.get(body["type"])
    assert explained.json()["whatToDo"]


async def test_an_unavailable_database_is_a_service_fault_with_retry_after(client: httpx.AsyncClient) -> None:
    answer, body = await problem_of(client, errors.StorageUnavailable("connection to 10.0.0.5 refused"))
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"
    assert body["fault"] == "service"
    assert "10.0.0.5" not in answer.text


async def test_an_unexpected_error_shows_its_id_and_nothing_else(
    client: httpx.AsyncClient, capsys: pytest.CaptureFixture[str]
) -> None:
    answer, body = await problem_of(client, RuntimeError("secret detail"))
    assert answer.status_code == 500
    assert "secret detail" not in answer.text
    assert "Traceback" not in answer.text
    logged = capsys.readouterr()
    assert body["errorId"] in logged.out + logged.err


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (errors.RingCentralUnreachable("timeout"), 502, "ringcentral-unavailable"),
        (errors.RingCentralUnreachable("bad gateway", status=502), 502, "ringcentral-unavailable"),
        (errors.RequestRefused("no", status=400, code="CMN-101"), 502, "ringcentral-refused"),
    ],
)
async def test_a_ringcentral_error_is_not_a_caller_fault(
    client: httpx.AsyncClient, error: errors.RingCentralError, status: int, kind: str
) -> None:
    answer, body = await problem_of(client, error)
    assert (answer.status_code, body["type"], body["fault"]) == (status, f"/problems/{kind}", "ringcentral")
    assert body["ringCentral"]["code"] == error.code


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (errors.CredentialsRefused("no", status=400, code="OAU-210"), 502, "ringcentral-credentials"),
        (errors.PermissionMissing("no", permission="ReadCallLog"), 502, "ringcentral-permission"),
        (errors.FeatureMissing("no", status=403, code="CMN-403"), 502, "ringcentral-feature"),
        (errors.NoCredentials("run `aftercall check`"), 503, "no-credentials"),
    ],
)
async def test_problems_that_the_operator_must_fix_say_so(
    client: httpx.AsyncClient, error: Exception, status: int, kind: str
) -> None:
    answer, body = await problem_of(client, error)
    assert (answer.status_code, body["type"], body["fault"]) == (status, f"/problems/{kind}", "operator")
    assert "operator" in problems.PROBLEM_TYPES[kind].remedy


async def test_retry_after_of_an_exhausted_limit_is_never_too_early(
    client: httpx.AsyncClient, clock: FakeClock
) -> None:
    retry_at = clock.now() + timedelta(seconds=41.2)
    answer, body = await problem_of(client, errors.RateLimited("slow down", retry_at=retry_at))
    assert (answer.status_code, body["fault"]) == (503, "limit")
    assert answer.headers["retry-after"] == "42"
    assert body["retryAt"] == "2026-03-10T18:08:22.200Z"


async def test_a_body_that_is_not_json_is_400(client: httpx.AsyncClient) -> None:
    answer = await client.post("/body", content=b'{"text": ', headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert answer.json()["type"] == "/problems/malformed-json"


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b'{"text": "\xff"}', "not-utf-8"),
        (b'{"text": ' + b"[" * 100_000, "nested-too-deeply"),
    ],
)
async def test_an_unreadable_body_says_why(client: httpx.AsyncClient, body: bytes, kind: str) -> None:
    answer = await client.post("/body", content=body, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["type"]) == (400, f"/problems/{kind}")


async def test_an_unsatisfiable_range_gives_the_size(client: httpx.AsyncClient) -> None:
    answer, body = await problem_of(client, errors.RangeNotSatisfiable("behind the end", total=12))
    assert (answer.status_code, body["type"]) == (416, "/problems/range-not-satisfiable")
    assert answer.headers["content-range"] == "bytes */12"


async def test_a_body_above_the_limit_is_413(client: httpx.AsyncClient) -> None:
    _, body = await problem_of(client, HTTPException(413, "A request may have 9 bytes"))
    assert (body["type"], body["fault"]) == ("/problems/payload-too-large", "caller")


async def test_a_misspelled_field_suggests_the_nearest_one(client: httpx.AsyncClient) -> None:
    answer = await client.post("/body", json={"text": "x", "Scores": 1})
    (error,) = answer.json()["errors"]
    assert error == {
        "pointer": "/Scores",
        "in": "body",
        "detail": "Unknown field `Scores`; did you mean `score`?",
    }


async def test_a_missing_body_is_reported(client: httpx.AsyncClient) -> None:
    answer = await client.post("/body")
    assert answer.json()["detail"] == "body: A JSON body is required"


async def test_validation_errors_name_every_place_but_no_value(
    client: httpx.AsyncClient,
) -> None:
    answer = await client.post("/body?limit=201", json={"score": 7, "author": {"a/b~c": "Dana Field"}})
    body = answer.json()
    assert answer.status_code == 422
    assert body["type"] == "/problems/invalid-request"
    places = {(error["in"], error.get("pointer", error.get("parameter"))) for error in body["errors"]}
    assert places == {("query", "limit"), ("body", "/text"), ("body", "/score"), ("body", "/author/a~1b~0c")}
    assert "Dana Field" not in answer.text


async def test_unknown_paths_and_methods_are_problems(client: httpx.AsyncClient) -> None:
    unknown = await client.get("/nowhere")
    assert (unknown.status_code, unknown.json()["type"]) == (404, "/problems/not-found")
    wrong = await client.delete("/body")
    assert (wrong.status_code, wrong.json()["type"]) == (405, "/problems/method-not-allowed")
    assert wrong.headers["allow"] == "POST"


async def test_the_api_description_has_problems_and_no_fastapi_errors(
    client: httpx.AsyncClient,
) -> None:
    description = (await client.get("/openapi.json")).json()
    schemas = description["components"]["schemas"]
    assert {"Problem", "FieldError"} <= set(schemas)
    assert "HTTPValidationError" not in schemas
    refused = description["paths"]["/body"]["post"]["responses"]["422"]["content"]
    assert refused == {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
