"""How responses change the availability of an account's insights, and when its calls expect them."""

from datetime import timedelta

from app.calls.insights.availability import (
    Availability,
    expect_insights,
    read_availability,
    write_availability,
)
from app.calls.model import Call, Stage
from app.enrichment.insights.results import Found, GivenUp, Missing, Refused, Retry, learn
from app.ids import AccountId, CallId
from tests.fakes.clock import START

HOURS = START + timedelta(hours=6)


def ended_call() -> Call:
    return Call(
        account_id=AccountId("908070001"),
        call_id=CallId("call_1"),
        telephony_session_id="s-1",
        stage=Stage.BOOTSTRAPPED,
        started_at=START,
        ended_at=START,
        created_at=START,
        updated_at=START,
    )


def test_insights_of_an_unknown_account_are_due_at_once() -> None:
    call, now = ended_call(), START + timedelta(seconds=10)
    expect_insights(call, Availability(), 3600.0, now)
    assert call.insights_at == now
    assert call.awaits("insights")


def test_insights_of_an_available_account_are_due_later() -> None:
    call = ended_call()
    expect_insights(call, Availability(answered=True), 3600.0, START + timedelta(seconds=10))
    assert call.insights_at == START + timedelta(hours=1)
    late = ended_call()
    expect_insights(late, Availability(answered=True), 3600.0, START + timedelta(days=1))
    assert late.insights_at == START + timedelta(days=1)


def test_a_refused_account_is_not_queried_until_the_refusal_expires() -> None:
    closed = Availability().closed("no-licence", HOURS)
    call = ended_call()
    expect_insights(call, closed, 3600.0, START)
    assert call.insights_at is None
    assert call.readiness["insights"]["state"] == "none"
    assert call.readiness["insights"]["reason"] == "no-licence"
    later = ended_call()
    expect_insights(later, closed, 3600.0, HOURS)
    assert later.insights_at == HOURS


def test_ready_insights_are_not_expected_again() -> None:
    call = ended_call()
    call.ready("insights", "ready", START)
    expect_insights(call, Availability(), 3600.0, START)
    assert (call.insights_at, call.readiness["insights"]["state"]) == (None, "ready")


def test_refusals_close_availability_until_the_first_one_expires() -> None:
    sooner = START + timedelta(hours=1)
    known = Availability().turned_away("own", sooner)
    learnt = learn(known, Refused("no-scope", {"second": HOURS}), START)
    assert (learnt.reason, learnt.closed_until) == ("no-scope", sooner)
    assert learnt.is_refused("second", START)
    assert not learnt.is_refused("own", sooner)


def test_a_response_reopens_availability_and_failures_do_not_change_it() -> None:
    closed = Availability().turned_away("own", HOURS).closed("no-licence", HOURS)
    for answer in (Found([]), Missing()):
        opened = learn(closed, answer, HOURS)
        assert opened.answered
        assert not opened.is_closed(START)
    assert learn(closed, Retry(HOURS), START) == closed
    assert learn(Availability(), GivenUp("unreachable"), START) == Availability()


def test_availability_is_stored_as_json() -> None:
    closed = Availability().turned_away("own", HOURS).closed("no-licence", HOURS)
    stored = write_availability(closed)
    assert stored.keys() == {"answered", "reason", "closedUntil", "refused"}
    assert read_availability(stored) == closed
    assert read_availability(None) == Availability()


def test_availability_that_an_earlier_version_stored_is_read() -> None:
    stored = {
        "answered": False,
        "reason": "no-licence",
        "closedUntil": HOURS.isoformat(),
        "refused": {"own": HOURS.isoformat()},
    }
    assert read_availability(stored) == Availability().turned_away("own", HOURS).closed("no-licence", HOURS)
