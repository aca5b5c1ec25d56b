"""The whole API against its own description: generated requests, valid and not, and what may be answered to
them.

Runs in this process, on SQLite. Left out: the stream of changes, which never ends by itself, and what has to
ask RingCentral.
"""

import asyncio
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, assume, settings
from schemathesis.generation.feedback import FeedbackSources
from schemathesis.generation.hypothesis.builder import (
    InvalidHeadersExampleMark,
    MissingPathParameters,
    UnserializablePayloadMark,
)
from schemathesis.pytest._test_builder import build_operation_test
from schemathesis.python._constants.orchestrator import make_constants_value_source
from schemathesis.python.asgi import shutdown_lifespans

from tests import generated_requests
from tests.conftest import SECRETS
from tests.described import describe as describe_api
from tests.generated_requests import checks_without_meaning, prepare, service

EXAMPLES = 6
"""Generated requests of each kind for an operation, the same in each run; the cases that schemathesis derives
from the description itself are as many again."""

_ASKS_RINGCENTRAL = r"/v1/(recordings|voicemails|call-log|active-calls|extensions)(/|$)"
"""Without a RingCentral these can only answer 502; tests/integration/call_log_api has one."""


OPERATIONS = (
    "POST /webhooks/ringcentral",
    "GET /v1/calls",
    "POST /v1/calls/batch-get",
    "GET /v1/calls/{call}",
    "GET /v1/calls/{call}/timeline",
    "GET /v1/calls/{call}/records",
    "GET /v1/calls/{call}/legs",
    "GET /v1/calls/{call}/recordings",
    "GET /v1/calls/{call}/versions",
    "GET /v1/calls/{call}/versions/{version}",
    "GET /v1/calls/{call}/projections/{crm}",
    "GET /v1/export/calls.ndjson",
    "GET /v1/export/calls.csv",
    "GET /v1/changes",
    "POST /v1/attachments",
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
    "POST /v1/webhook-endpoints",
    "GET /v1/webhook-endpoints",
    "GET /v1/webhook-endpoints/{endpoint}",
    "PATCH /v1/webhook-endpoints/{endpoint}",
    "DELETE /v1/webhook-endpoints/{endpoint}",
    "POST /v1/webhook-endpoints/{endpoint}/secrets",
    "POST /v1/webhook-endpoints/{endpoint}/test",
    "GET /v1/webhook-endpoints/{endpoint}/attempts",
    "GET /v1/webhook-endpoints/{endpoint}/messages",
    "POST /v1/webhook-endpoints/{endpoint}/attempts/{attempt}/resend",
    "POST /v1/webhook-endpoints/{endpoint}/recover",
    "GET /v1/ops/gaps",
    "GET /v1/ops/summary",
    "GET /v1/ops/dead-letters",
    "GET /v1/ops/retention",
    "GET /v1/me",
    "GET /v1/me/requests",
    "GET /v1/api-keys/{keyId}/requests",
    "GET /v1/audit",
    "GET /v1/accounts",
    "POST /v1/accounts/invitations",
    "DELETE /v1/accounts/{account}/credentials/{name}",
    "GET /v1/api-keys",
    "POST /v1/api-keys",
    "PATCH /v1/api-keys/{keyId}",
    "DELETE /v1/api-keys/{keyId}",
    "POST /v1/erasures",
    "GET /v1/erasures",
    "GET /v1/erasures/{erasure}",
    "POST /v1/erasures/{erasure}/run",
    "GET /v1/erasures/{erasure}/receipt",
    "POST /v1/erasures/{erasure}/verification",
    "PUT /v1/calls/{call}/legal-hold",
    "GET /v1/calls/{call}/legal-hold",
    "DELETE /v1/calls/{call}/legal-hold",
    "GET /v1/legal-holds",
    "GET /healthz",
    "GET /readyz",
    "GET /problems/{kind}",
)
"""Written down, since reading them from the description would take each worker of pytest-xdist seconds."""


@cache
def describe() -> Any:
    """The operations under test.

    Generating their requests takes seconds, so each test does it for its own.
    """
    here = (
        generated_requests.describe().exclude(path="/v1/changes/stream").exclude(path_regex=_ASKS_RINGCENTRAL)
    )
    return here.exclude(path="/v1/accounts", method="POST")


@pytest.fixture
def prepared(sqlite_url: str) -> Iterator[None]:
    """A database of its own, with the call that the examples speak of."""
    asyncio.run(prepare(sqlite_url))
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
    case.validate_response(answer, excluded_checks=checks_without_meaning(case, answer))


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
        for path, operations in describe_api()["paths"].items()
        for method in operations
        if path != "/v1/changes/stream" and not re.match(_ASKS_RINGCENTRAL, path)
    ]
    described.remove("POST /v1/accounts")
    assert sorted(described) == sorted(OPERATIONS)
    assert sorted(found.ok().label for found in describe().get_all_operations()) == sorted(OPERATIONS)
    assert len(OPERATIONS) >= 38
