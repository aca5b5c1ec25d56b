"""What sends generated requests to the whole API in this process: the service, its data, and what may be
answered to a request that follows the description.

The service runs without its background work. Its clock hurries, so that a request that asks to wait for a
minute is answered at once.
"""

from copy import deepcopy
from typing import Any

import schemathesis
from fastapi import FastAPI
from schemathesis.checks import CheckFunction, load_all_checks
from schemathesis.config import (
    ChecksConfig,
    GenerationConfig,
    PhasesConfig,
    PositiveDataAcceptanceConfig,
    ProjectConfig,
    ProjectsConfig,
)
from schemathesis.config._phases import InferenceConfig, StatefulPhaseConfig
from schemathesis.schemas import BaseSchema
from schemathesis.specs.openapi.checks import (
    negative_data_rejection,
    positive_data_acceptance,
    response_schema_conformance,
)

from app.calls import accounts
from app.clock import SystemClock
from app.db.engine import Database
from app.main import create_app
from app.process import Role
from app.settings import read_settings
from tests.conftest import SECRETS
from tests.described import describe as describe_api
from tests.factories_calls import ACCOUNT, seed_call

SESSION = "1229016182016"
TELEPHONY_SESSION = "s-a0c14f2b77d1ez1928b3f4c10z5e6f70000"

RULES = (
    "Scope `", "Send a label of", "Send `text` or `body`", "The year must", "A text cannot contain",
    "Must be a phone number", "Must be the IANA name", "Must be an address that", "Send exactly one of",
    "There is no field `", "Choose at most",
    "An origin ", "Use https://", "A key can have at most",
)  # fmt: skip
"""Beginnings of the sentences with which a well-formed request is refused for what it says."""


class HurriedClock(SystemClock):
    """Whoever measures how long he has waited finds that it was long enough."""

    def __init__(self) -> None:
        self._seconds = 0.0

    def monotonic(self) -> float:
        self._seconds += 3600.0
        return self._seconds


async def prepare(url: str) -> None:
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
    """The service, made anew whenever the lifespan begins: the test runner ends it after each test."""

    url = "sqlite:///unused.db"
    _app: FastAPI | None = None

    def make(self) -> FastAPI:
        settings = read_settings(**SECRETS, database_url=self.url, public_url="https://aftercall.example")
        return create_app(settings, role=Role.WEB, clock=HurriedClock())

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan" or self._app is None:
            self._app = self.make()
        await self._app(scope, receive, send)


service = Served()


def describe() -> BaseSchema:
    """Return the description as requests are generated from it, all checks on."""
    # The test brings the key; and parameters that nobody defined are refused.
    generation = GenerationConfig(with_security_parameters=False, allow_extra_parameters=True)
    # A schema cannot say which cursors and which versions there are: 400 and 412 are fair answers to the
    # others.
    accepted: list[str | int] = ["2xx", "3xx", 400, 401, 403, 404, 409, 412]
    checks = ChecksConfig(positive_data_acceptance=PositiveDataAcceptanceConfig(expected_statuses=accepted))
    # The links of the description alone: those that are guessed from names take one id for another.
    phases = PhasesConfig(stateful=StatefulPhaseConfig(inference=InferenceConfig(algorithms=[])))
    project = ProjectConfig(generation=generation, checks=checks, phases=phases)
    config = schemathesis.Config(projects=ProjectsConfig(default=project))
    load_all_checks()
    schema = schemathesis.openapi.from_dict(deepcopy(describe_api()), config=config)
    schema.app = service
    return schema


def checks_without_meaning(case: Any, answer: Any) -> list[CheckFunction]:
    """Return the checks that say nothing about this response."""
    excluded: list[CheckFunction] = []
    if is_refused_by_a_rule(answer):
        excluded.append(positive_data_acceptance)
    if is_refused_in_part(answer):
        excluded.append(negative_data_rejection)
    if "fields" in (case.query or {}) and answer.status_code == 200:
        # A call without what was not asked for; that each field is as in the whole call is tested elsewhere.
        excluded.append(response_schema_conformance)
    return excluded


def is_refused_in_part(answer: Any) -> bool:
    """Whether items of a batch were refused: a batch is answered with 200, and a bad item fails alone."""
    return bool(answer.status_code == 200 and b'"failed":' in answer.content and answer.json()["failed"])


def is_refused_by_a_rule(answer: Any) -> bool:
    """Whether a request was refused for something that no schema can say."""
    problem = answer.json() if answer.status_code in {410, 422} else {}
    if problem.get("type") == "/problems/history-changed":
        return True  # the cursor of the example is none of this database
    if answer.status_code != 422:
        return False
    if problem["type"] == "/problems/unprocessable":
        return True
    return all(error["detail"].startswith(RULES) for error in problem["errors"])
