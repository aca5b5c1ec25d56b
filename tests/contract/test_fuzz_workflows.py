"""Sequences of requests, led by the links of the API description: what one response names, the next request
reads, changes or deletes. On both databases, with all checks of schemathesis.

Each sequence begins with the same data. `make fuzz` runs ever new ones. Left out: what has to ask
RingCentral, and the stream of changes, which never ends by itself.
"""

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any, Self

import pytest
from hypothesis import HealthCheck, Phase, assume, seed, settings
from schemathesis.python.asgi import shutdown_lifespans
from schemathesis.schemas import BaseSchema
from schemathesis.specs.openapi import stateful
from schemathesis.specs.openapi.checks import use_after_free
from sqlalchemy import delete, insert

from app.api import keys
from app.clock import SystemClock
from app.db.engine import Database
from app.db.tables import metadata, recordings
from app.ids import UNBOUND_ACCOUNT
from app.push.sending.retry_plan import Answer
from tests.factories_calls import ACCOUNT, seed_call
from tests.fuzzing import repeated
from tests.generated_requests import checks_without_meaning, describe, prepare, service

SEQUENCES = 6
STEPS = 30
"""Requests of a sequence."""

SUCCEED = 20
"""Operations that succeed at least once in a run, at least."""

RECORDING = "3019664700"

_ASKS_RINGCENTRAL = (
    r"^/v1/((recordings|voicemails)/[^/]+(/content)?|(call-log|active-calls|extensions)(/.*)?)$"
)
_OUTLIVES_ITS_KEY = "GET /v1/api-keys/{keyId}/requests"
"""Revoking a key deletes nothing: the key is still listed, and its last requests can be read."""


_OF_ANY_CALL = ("PUT /v1/calls/{call}/sentiments/{source}", "PUT /v1/calls/{call}/links/{crm}")


class Receiver:
    """Whoever receives webhooks: nothing leaves this process."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        return Answer(status=204)


async def refill(url: str) -> str:
    """Leave nothing but some calls, a recording and two keys; return the key that sends the requests.

    It is not the first of the list, which requests revoke and limit.
    """
    database, now = Database(url), SystemClock().now()
    try:
        async with database.write() as db:
            for table in reversed(metadata.sorted_tables):
                await db.execute(delete(table))
        await prepare(url)
        for minute in range(3):
            call = await seed_call(database, started_at=now - timedelta(hours=2, minutes=minute))
        row = {"account_id": ACCOUNT, "call_id": call.call_id, "recording_id": RECORDING, "state": "ready"}
        async with database.write() as db:
            await db.execute(insert(recordings).values(row | {"created_at": now, "updated_at": now}))
            await keys.create_key(db, UNBOUND_ACCOUNT, "first of the list", now)
            later = now + timedelta(seconds=1)
            created = await keys.create_key(db, UNBOUND_ACCOUNT, "sends the requests", later)
            unlimited = keys.KeyChanges(requests_per_minute=0)
            await keys.change_key(db, UNBOUND_ACCOUNT, created.info.key_id, unlimited)
    finally:
        await database.close()
    return created.plain


@pytest.fixture
def _served(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("app.process.open_webhook_client", lambda *_: Receiver())
    # Its own guess leaves out all that takes an `accountId`, whose accounts no operation makes.
    monkeypatch.setattr(stateful, "is_likely_root_transition", _is_root)
    service.url = database_url
    yield
    # A service that went on would hold files open, and run into the tests that follow it.
    shutdown_lifespans()


def _is_root(operation: Any, *_: Any) -> bool:
    """Whether sequences can begin with an operation. What has a call in its path takes any name of one."""
    return not operation.path_parameters or operation.label in _OF_ANY_CALL


def operations() -> BaseSchema:
    here = describe().exclude(path_regex=_ASKS_RINGCENTRAL).exclude(path="/v1/changes/stream")
    return here.exclude(path="/v1/accounts", method="POST")


def machine(answered: Counter[tuple[str, int]]) -> Any:
    """Return the state machine of the links. It counts the responses by operation and status."""

    class Workflow(operations().as_state_machine()):  # type: ignore[misc]
        def setup(self) -> None:
            shutdown_lifespans()
            self.key = asyncio.run(refill(service.url))

        def before_call(self, case: Any) -> None:
            # The client library decodes and encodes a path once more, which does not leave a `%` as it was.
            assume("%" not in str(case.path_parameters))

        def get_call_kwargs(self, case: Any) -> dict[str, Any]:
            return {"headers": {"Authorization": f"Bearer {self.key}"}}

        def validate_response(self, response: Any, case: Any, *_: Any, **sent: Any) -> None:
            answered[case.operation.label, response.status_code] += 1
            excluded = checks_without_meaning(case, response)
            if case.operation.label == _OUTLIVES_ITS_KEY:
                excluded.append(use_after_free)
            case.validate_response(
                response, excluded_checks=excluded, transport_kwargs=sent, recorder=self.recorder
            )

    return Workflow


@pytest.mark.usefixtures("_served")
def test_what_a_response_names_can_be_read_changed_and_deleted() -> None:
    answered: Counter[tuple[str, int]] = Counter()
    workflow = machine(answered)
    limits = settings(
        max_examples=SEQUENCES,
        stateful_step_count=STEPS,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    for number in repeated():
        seed(number)(workflow).run(settings=limits)
    succeeded = {operation for operation, status in answered if status < 300}
    print(f"fuzz: {answered.total()} requests, {len(succeeded)} operations succeeded")  # noqa: T201
    assert answered.total() >= SEQUENCES * STEPS // 2
    assert len(succeeded) >= SUCCEED
