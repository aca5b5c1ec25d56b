"""The whole API against its own description: generated requests, valid and not, and what may be answered to
them.

Runs in this process, on SQLite, without the background work. The clock hurries, so that a request that asks
to wait for a minute is answered at once. Left out: the stream of changes, which never ends by itself, and
what has to ask RingCentral.
"""

import asyncio
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, assume, settings
from schemathesis.checks import load_all_checks
from schemathesis.config import (
    ChecksConfig,
    GenerationConfig,
    PositiveDataAcceptanceConfig,
    ProjectConfig,
    ProjectsConfig,
)
from schemathesis.generation.feedback import FeedbackSources
from schemathesis.generation.hypothesis.builder import (
    InvalidHeadersExampleMark,
    MissingPathParameters,
    UnserializablePayloadMark,
)
from schemathesis.pytest._test_builder import build_operation_test
from schemathesis.python._constants.orchestrator import make_constants_value_source
from schemathesis.python.asgi import shutdown_lifespans
from schemathesis.specs.openapi.checks import positive_data_acceptance

from app.calls import accounts
from app.clock import SystemClock
from app.db.engine import Database
from app.main import create_app
from app.process import Role
from app.settings import read_settings
from tests.conftest import SECRETS
from tests.factories_calls import ACCOUNT, seed_call

EXAMPLES = 12
SESSION = "1229016182016"
TELEPHONY_SESSION = "s-a0c14f2b77d1ez1928b3f4c10z5e6f70000"


_ASKS_RINGCENTRAL = r"/v1/(recordings|voicemails|call-log|active-calls|extensions)(/|$)"
"""Without a RingCentral these can only answer 502; tests/integration/call_log_api has one."""

RULES = (
    "Scope `", "Send a label of", "Send `text` or `body`", "The year must", "A text cannot contain",
    "Must be a phone number",
)  # fmt: skip
"""Beginnings of the sentences with which a well-formed request is refused for what it says."""


OPERATIONS = (
    "POST /webhooks/ringcentral",
    "GET /v1/calls",
    "POST /v1/calls/batch-get",
    "GET /v1/calls/{call}",
    "GET /v1/calls/{call}/timeline",
    "GET /v1/calls/{call}/records",
    "GET /v1/calls/{call}/legs",
    "GET /v1/calls/{call}/recordings",
    "GET /v1/changes",
    "POST /v1/calls/{call}/notes",
    "GET /v1/calls/{call}/notes",
    "GET /v1/calls/{call}/notes/{noteId}",
    "PATCH /v1/calls/{call}/notes/{noteId}",
    "DELETE /v1/calls/{call}/notes/{noteId}",
    "PUT /v1/calls/{call}/sentiments/{source}",
    "GET /v1/calls/{call}/sentiments/{source}",
    "DELETE /v1/calls/{call}/sentiments/{source}",
    "GET /v1/calls/{call}/sentiments",
    "PUT /v1/calls/{call}/disposition",
    "GET /v1/calls/{call}/disposition",
    "DELETE /v1/calls/{call}/disposition",
    "PUT /v1/calls/{call}/links/{crm}",
    "GET /v1/calls/{call}/links/{crm}",
    "DELETE /v1/calls/{call}/links/{crm}",
    "GET /v1/calls/{call}/links",
    "GET /v1/calls/{call}/insights",
    "GET /v1/conversations/{conversation}",
    "GET /v1/ops/gaps",
    "GET /v1/ops/summary",
    "GET /v1/ops/dead-letters",
    "GET /v1/accounts",
    "POST /v1/accounts/invitations",
    "DELETE /v1/accounts/{account}/credentials/{name}",
    "GET /v1/api-keys",
    "POST /v1/api-keys",
    "DELETE /v1/api-keys/{keyId}",
    "GET /healthz",
    "GET /readyz",
    "GET /problems/{kind}",
)
"""Written down, since reading them from the description would take each worker of pytest-xdist seconds."""


class HurriedClock(SystemClock):
    """Whoever measures how long he has waited finds that it was long enough."""

    def __init__(self) -> None:
        self._seconds = 0.0

    def monotonic(self) -> float:
        self._seconds += 3600.0
        return self._seconds


async def _prepare(url: str) -> None:
    """Put the call there that the examples of the description speak of."""
    database = Database(url)
    try:
        async with database.write() as db:
            now = SystemClock().now()
            await accounts.open_unbound(db, now)
            await accounts.bind(db, ACCOUNT, now)
        await seed_call(database, session_id=SESSION, telephony_session_id=TELEPHONY_SESSION)
    finally:
        await database.close()


class Served:
    """The service, made anew for each operation: between them the test runner ends its lifespan."""

    url = "sqlite:///unused.db"
    _app: FastAPI | None = None

    def make(self) -> FastAPI:
        settings = read_settings(**SECRETS, database_url=self.url)
        return create_app(settings, role=Role.WEB, clock=HurriedClock())

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan" or self._app is None:
            self._app = self.make()
        await self._app(scope, receive, send)


service = Served()


@cache
def describe() -> Any:
    """The operations under test.

    Generating their requests takes seconds, so each test does it for its own.
    """
    # The test brings the key; and parameters that nobody defined are refused.
    generation = GenerationConfig(with_security_parameters=False, allow_extra_parameters=True)
    # A schema cannot say which cursors and which versions there are: 400 and 412 are fair answers to the
    # others.
    accepted: list[str | int] = ["2xx", "3xx", 400, 401, 403, 404, 409, 412]
    checks = ChecksConfig(positive_data_acceptance=PositiveDataAcceptanceConfig(expected_statuses=accepted))
    project = ProjectConfig(generation=generation, checks=checks)
    config = schemathesis.Config(projects=ProjectsConfig(default=project))
    load_all_checks()
    schema = schemathesis.openapi.from_dict(service.make().openapi(), config=config)
    schema.app = service
    here = schema.exclude(path="/v1/changes/stream").exclude(path_regex=_ASKS_RINGCENTRAL)
    return here.exclude(path="/v1/accounts", method="POST")


@pytest.fixture
def prepared(sqlite_url: str) -> Iterator[None]:
    """A database of its own, with the call that the examples speak of."""
    asyncio.run(_prepare(sqlite_url))
    service.url = sqlite_url
    yield
    # A service that went on would hold files open, and run into the tests that follow it.
    shutdown_lifespans()


@settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck), derandomize=True)
def check_operation(case: schemathesis.Case[Any]) -> None:
    """Send one generated request, and compare the answer with the description."""
    # The client library decodes and encodes a path once more, which does not leave a `%` as it was.
    assume("%" not in str(case.path_parameters))
    answer = case.call(headers={"Authorization": f"Bearer {SECRETS['api_key']}"})
    excluded: list[schemathesis.CheckFunction] = (
        [positive_data_acceptance] if is_refused_by_a_rule(answer) else []
    )
    case.validate_response(answer, excluded_checks=excluded)


@pytest.mark.usefixtures("prepared")
@pytest.mark.parametrize("label", OPERATIONS)
def test_answers_are_as_described(label: str) -> None:
    here = describe().include(name=label)
    (found,) = here.get_all_operations()
    feedback = FeedbackSources(constants_value_source=make_constants_value_source(here))
    # `here.parametrize()` does the same at collection, which every worker of pytest-xdist repeats.
    check = build_operation_test(
        config=here.config,
        operation=found.ok(),
        test_func=check_operation,
        given_kwargs={},
        feedback=feedback,
    )
    check()
    for left_out in (InvalidHeadersExampleMark, MissingPathParameters, UnserializablePayloadMark):
        assert left_out.get(check) is None, "a part of the operation was not tested"


def test_each_operation_of_the_description_has_its_own_test() -> None:
    described = [
        f"{method.upper()} {path}"
        for path, operations in service.make().openapi()["paths"].items()
        for method in operations
        if path != "/v1/changes/stream" and not re.match(_ASKS_RINGCENTRAL, path)
    ]
    described.remove("POST /v1/accounts")
    assert sorted(described) == sorted(OPERATIONS)
    assert sorted(found.ok().label for found in describe().get_all_operations()) == sorted(OPERATIONS)
    assert len(OPERATIONS) >= 38


def is_refused_by_a_rule(answer: schemathesis.Response) -> bool:
    """Whether a request was refused for something that no schema can say."""
    problem = answer.json() if answer.status_code in {410, 422} else {}
    if problem.get("type") == "/problems/history-changed":
        return True  # the cursor of the example is none of this database
    if answer.status_code != 422:
        return False
    if problem["type"] == "/problems/unprocessable":
        return True
    return all(error["detail"].startswith(RULES) for error in problem["errors"])
