"""The whole API against its own description: generated requests, valid and not, and what may be answered to them.

Runs in this process, on SQLite, without the background work. The clock hurries, so that a request that asks to wait
for a minute is answered at once. Left out: the stream of changes, which never ends by itself, and what has to ask RingCentral.
"""

import asyncio
import re
from typing import Any

import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, assume, settings
from schemathesis.config import (
    ChecksConfig,
    GenerationConfig,
    PositiveDataAcceptanceConfig,
    ProjectConfig,
    ProjectsConfig,
)
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


_ASKS_RINGCENTRAL = r"/v1/(recordings|call-log|active-calls|extensions)(/|$)"
"""Without a RingCentral these can only answer 502; tests/integration/call_log_api has one."""

RULES = (
    "Scope `", "Send a label of", "Send `text` or `body`", "The year must", "A text cannot contain",
    "Must be a phone number",
)  # fmt: skip
"""Beginnings of the sentences with which a well-formed request is refused for what it says."""


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


def _describe() -> Any:
    # The tests' names come from the description, so it is read before any test runs; nothing is opened for that.
    # The test brings the key; and parameters that nobody defined are refused.
    generation = GenerationConfig(with_security_parameters=False, allow_extra_parameters=True)
    # A schema cannot say which cursors and which versions there are: 400 and 412 are fair answers to the others.
    accepted: list[str | int] = ["2xx", "3xx", 400, 401, 403, 404, 409, 412]
    checks = ChecksConfig(positive_data_acceptance=PositiveDataAcceptanceConfig(expected_statuses=accepted))
    project = ProjectConfig(generation=generation, checks=checks)
    config = schemathesis.Config(projects=ProjectsConfig(default=project))
    schema = schemathesis.openapi.from_dict(service.make().openapi(), config=config)
    schema.app = service
    here = schema.exclude(path="/v1/changes/stream").exclude(path_regex=_ASKS_RINGCENTRAL)
    return here.exclude(path="/v1/accounts", method="POST")


service = Served()
api = _describe()


@pytest.fixture
def prepared(sqlite_url: str) -> None:
    """A database of its own, with the call that the examples speak of."""
    asyncio.run(_prepare(sqlite_url))
    service.url = sqlite_url


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


def _name_of(label: str) -> str:
    """A function's name for an operation: `GET /v1/calls/{call}` is `get_v1_calls_call`."""
    return re.sub(r"[^a-z0-9]+", "_", label.lower()).strip("_")


def _make_tests() -> dict[str, Any]:
    """Make a test function for each operation.

    One function for all (`api.parametrize()`) gives all of them the same test id, and pytest-xdist runs each id once.
    """
    labels = [found.ok().label for found in api.get_all_operations()]
    tests = {f"test_answers_of_{_name_of(label)}": label for label in labels}
    assert len(tests) == len(labels), "two operations have the same test"
    return {
        name: pytest.mark.usefixtures("prepared")(api.include(name=label).parametrize()(check_operation))
        for name, label in tests.items()
    }


globals().update(_make_tests())


def test_each_operation_of_the_description_has_its_own_test(request: pytest.FixtureRequest) -> None:
    described = [
        f"{method.upper()} {path}"
        for path, operations in service.make().openapi()["paths"].items()
        for method in operations
        if path != "/v1/changes/stream" and not re.match(_ASKS_RINGCENTRAL, path)
    ]
    described.remove("POST /v1/accounts")
    tests = [name for name in globals() if name.startswith("test_answers_of_")]
    assert sorted(tests) == sorted(f"test_answers_of_{_name_of(label)}" for label in described)
    assert len(tests) >= 38


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
