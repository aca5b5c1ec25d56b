"""Each stage of a call is counted and logged after its commit, with ids and the reason of absence."""

from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from app import metrics
from tests import factories
from tests.integration.webhooks.conftest import Intake


def count(reason: str) -> float:
    return float(metrics.CALLS_ABSENT.labels(reason=reason)._value.get())


async def test_each_stage_of_a_call_is_logged_with_the_delivery_that_caused_it(intake: Intake) -> None:
    payloads = factories.inbound_answered()
    with capture_logs(processors=[merge_contextvars]) as lines:
        await intake.play(payloads)
    (call,) = await intake.calls()
    logged = [line for line in lines if line["event"] == "call"]
    assert [(line["stage"], line["log_level"]) for line in logged] == [("live", "info"), ("ended", "info")]
    for line in logged:
        assert (line["account_id"], line["call_id"]) == (call.account_id, call.call_id)
        assert line["telephony_session_id"] == call.telephony_session_id
    assert logged[0]["uuid"] in {payload["uuid"] for payload in payloads}
    folded = [line for line in lines if line["event"] == "delivery folded"]
    assert {line["uuid"] for line in folded} == {payload["uuid"] for payload in payloads}
    assert {line["account_id"] for line in folded} == {call.account_id}


async def test_an_absent_call_is_counted_by_its_reason(intake: Intake) -> None:
    before = count("test-call")
    with capture_logs() as lines:
        await intake.play(factories.trial_call())
    assert count("test-call") == before + 1
    assert [line["reason"] for line in lines if line.get("stage") == "absent"] == ["test-call"]
