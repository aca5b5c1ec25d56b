"""Words and positions of the dashboard."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.accounts.access import Access
from app.accounts.overview import AccountOverview, CredentialStatus
from app.calls.model import Outcome, Source, Stage
from app.ids import AccountId
from app.ops.dashboard import call_rows as view
from app.ops.dashboard.board import Lane
from app.ops.figures.summary import Budget, CallFigures, ServiceSummary, SlotUse, WaitingCall
from app.ops.problems.listing import ProblemToFix
from app.ops.states import InboxState, SubscriptionState, status_of
from app.settings import Settings

NOW = datetime(2026, 3, 10, 18, 10, tzinfo=UTC)
DANA = {"phoneNumber": "+15550179001", "name": "Dana Field"}
ANA = {"phoneNumber": "+15550100101", "name": "Ana Ruiz", "extensionId": "711000101"}


def lane(**fields: Any) -> Lane:
    ended_at = fields.get("ended_at", NOW - timedelta(seconds=20))
    values: dict[str, Any] = {
        "call_id": "call_1",
        "version": 3,
        "stage": Stage.ENDED,
        "started_at": NOW - timedelta(seconds=90),
        "direction": "Inbound",
        "outcome": Outcome.ANSWERED,
        "caller": DANA,
        "callee": ANA,
        "ended_at": ended_at,
        "window_closes_at": ended_at + timedelta(seconds=120) if ended_at else None,
    }
    return Lane(**values | fields)


def summary(**fields: Any) -> ServiceSummary:
    values: dict[str, Any] = {
        "at": NOW,
        "window_seconds": 120.0,
        "lag_min_seconds": 3.0,
        "lag_max_seconds": 10.0,
    }
    return ServiceSummary(**values | fields)


def settings(**fields: Any) -> Settings:
    return Settings(**fields)


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        ("+15550179001", "+1 555 ••• 9001"),
        ("+493055512345", "+49 ••• 2345"),
        ("5550179001", "55 ••• 9001"),
        ("+4930555", "+49 ••• 55"),
        ("911", "•••"),
        ("22000", "••• 00"),
    ],
)
def test_the_middle_of_a_number_is_hidden(number: str, shown: str) -> None:
    assert view.mask_number(number) == shown


@given(st.text("0123456789", min_size=7, max_size=15), st.sampled_from(["", "+"]))
def test_at_least_three_digits_of_a_whole_number_stay_hidden(digits: str, plus: str) -> None:
    shown = [character for character in view.mask_number(plus + digits) if character.isdigit()]
    assert len(shown) <= len(digits) - 3


def test_nothing_of_a_person_outside_shows_unless_unmasked() -> None:
    masked = json.dumps(view.show_lane(lane(), NOW, unmasked=False), ensure_ascii=False)
    assert "Dana" not in masked
    assert "0179001" not in masked
    assert "Ana Ruiz" in masked
    assert view.show_lane(lane(), NOW, unmasked=True)["from"] == "Dana Field +15550179001"


def test_a_caller_without_a_number_is_not_named() -> None:
    assert view.show_party({"name": "Dana Field"}, unmasked=False) == "No number"
    assert view.show_party(None, unmasked=False) == "Unknown"
    assert view.show_party({"extensionNumber": "101"}, unmasked=False) == "Ext. 101"


@pytest.mark.parametrize(
    ("fields", "tone"),
    [
        ({"stage": Stage.LIVE, "ended_at": None}, "live"),
        ({}, "waiting"),
        ({"ended_at": NOW - timedelta(seconds=121)}, "overdue"),
        (
            {"stage": Stage.BOOTSTRAPPED, "bootstrapped_at": NOW, "bootstrapped_by": Source.ACTIVE_CALLS},
            "found",
        ),
        (
            {
                "stage": Stage.FINAL,
                "bootstrapped_at": NOW,
                "bootstrapped_by": Source.CALL_LOG,
                "window_closes_at": NOW - timedelta(seconds=1),
            },
            "later",
        ),
        ({"bootstrapped_at": NOW, "bootstrapped_by": Source.CALL_LOG, "window_closes_at": NOW}, "found"),
        ({"stage": Stage.ABSENT, "absent_reason": "test-call"}, "absent"),
    ],
)
def test_the_colour_tells_how_far_a_call_is(fields: dict[str, Any], tone: str) -> None:
    assert view.show_lane(lane(**fields), NOW, unmasked=False)["tone"] == tone


def test_an_absent_call_says_why() -> None:
    absent = lane(stage=Stage.ABSENT, absent_reason="never-logged")
    assert view.show_lane(absent, NOW, unmasked=False)["outcome"] == "Never logged"


def test_a_live_call_says_whether_it_was_answered() -> None:
    ringing = lane(stage=Stage.LIVE, ended_at=None)
    assert view.show_lane(ringing, NOW, unmasked=False)["outcome"] == "Ringing"
    answered = replace(ringing, answered_at=NOW)
    assert view.show_lane(answered, NOW, unmasked=False)["outcome"] == "Talking"


def test_the_time_to_record_runs_from_the_end() -> None:
    found = lane(stage=Stage.BOOTSTRAPPED, bootstrapped_at=NOW - timedelta(seconds=15.5))
    shown = view.show_lane(found, NOW, unmasked=False)
    assert shown["found"] == pytest.approx(4.5)
    assert shown["window"] == 120


@pytest.mark.parametrize(
    ("figures", "said"),
    [
        (CallFigures(), "Waiting for the first call."),
        (CallFigures(live=1), "A call is under way."),
        (CallFigures(ended=1, in_window=1), "1 call ended in the last hour.\nIt has its record."),
        (CallFigures(ended=12, in_window=12), "12 calls ended in the last hour.\nEvery one has its record."),
        (
            CallFigures(ended=9, in_window=6, waiting=1, overdue=1, absent=1),
            "9 calls ended in the last hour.\n1 is being looked for, 1 missed the window and 1 left no record.",
        ),
    ],
)
def test_the_headline_says_what_is_missing(figures: CallFigures, said: str) -> None:
    assert view.headline(summary(calls=figures)) == said


def test_a_problem_outranks_every_figure() -> None:
    problem = ProblemToFix("908070001", "account", "CMN-408", "[ReadCompanyCallLog] permission required")
    told = summary(calls=CallFigures(ended=1, in_window=1), problems=(problem,))
    assert view.headline(told) == "Something here needs a person."
    shown = view.show_problem(problem)
    assert shown["title"] == "A permission is missing"
    assert shown["detail"] == "[ReadCompanyCallLog] permission required"


@pytest.mark.parametrize(
    ("about", "code", "title"),
    [
        ("credentials", "CMN-401", "An app scope is missing"),
        ("credentials", "unreadable", "Stored credentials cannot be used"),
        ("credentials", "wrong-account", "These are credentials of another account"),
        ("clock", "clock-skew", "A clock is off"),
        ("account", "OAU-213", "RingCentral refuses our credentials"),
        ("account", "invalid_grant", "RingCentral refuses our credentials"),
        ("subscription", "subscription", "RingCentral refuses the subscription"),
        ("subscription", "SUB-521", "RingCentral cannot reach us"),
        ("reach", "unreachable-name", "RingCentral cannot be reached"),
        ("reach", "unreachable-server", "RingCentral answers with errors"),
        ("setup", "no-credentials", "No RingCentral user is set up"),
        ("subscription", "disabled-filters", "RingCentral leaves some events out"),
        ("account", "XYZ-1", "Something is wrong with this account"),
    ],
)
def test_each_problem_has_words_of_its_own(about: str, code: str, title: str) -> None:
    shown = view.show_problem(ProblemToFix("~", about, code, "said RingCentral"))
    assert shown["title"] == title
    assert shown["todo"]


@pytest.mark.parametrize(
    ("problem", "where"),
    [
        (ProblemToFix("908070001", "credentials", "CMN-401", "", None, "ext-1"), "account 908070001 · ext-1"),
        (ProblemToFix("908070001", "credentials", "CMN-401", "", None, "own"), "account 908070001"),
        (ProblemToFix("~", "subscription", "SUB-521", ""), ""),
        (ProblemToFix("~", "clock", "clock-skew", ""), ""),
    ],
)
def test_a_problem_says_whose_it_is(problem: ProblemToFix, where: str) -> None:
    assert view.show_problem(problem)["where"] == where


def test_all_but_one_call_is_never_rounded_to_all() -> None:
    nearly = summary(calls=CallFigures(ended=100_000, in_window=99_999, later=1))
    assert view.show_summary(nearly, settings(), unmasked=False)["figures"]["found"]["value"] == "99.9 %"


def test_what_does_not_move_is_the_same_message_twice() -> None:
    first = view.show_summary(summary(), settings(), unmasked=False)
    again = view.show_summary(replace(summary(), at=NOW + timedelta(seconds=1)), settings(), unmasked=False)
    assert first == again


def test_the_budget_shows_its_slots_and_a_penalty() -> None:
    slot = SlotUse("poll", NOW, NOW + timedelta(seconds=60))
    budget = Budget(10, 9, 60.0, silent_until=NOW + timedelta(seconds=30), slots=(slot,))
    shown = view.show_summary(summary(budget=budget), settings(), unmasked=False)["budget"]
    assert (shown["free"], shown["limit"], len(shown["slots"])) == (9, 10, 1)
    assert shown["silentUntil"] - shown["slots"][0]["sentAt"] == 30_000


def test_the_waiting_list_is_masked_with_the_rest() -> None:
    call = WaitingCall("call_1", "1229", NOW, NOW + timedelta(seconds=120), 0, DANA, ANA)
    shown = view.show_summary(summary(waiting=(call,)), settings(), unmasked=False)
    assert shown["waiting"][0]["from"] == "+1 555 ••• 9001"


def test_the_first_steps_tick_off_what_is_done(make_settings: Any) -> None:
    subscription = SubscriptionState("~", "Active", NOW + timedelta(days=7), NOW)
    ready = make_settings(
        rc_client_id="id", rc_client_secret="s", rc_jwt="j", public_url="https://aftercall.example.com"
    )
    steps = view.first_steps(summary(subscriptions=(subscription,)), ready)
    assert [step["done"] for step in steps] == [True, True, True, False]
    assert not any(step["done"] for step in view.first_steps(summary(), make_settings()))


def test_an_added_account_is_a_user_of_ringcentral_as_well(make_settings: Any) -> None:
    member = CredentialStatus(AccountId("908070002"), "ext-1", "oauth", Access(), (), NOW)
    added = AccountOverview(AccountId("908070002"), False, NOW, (member,))
    steps = view.first_steps(summary(accounts=(added,)), make_settings())
    assert [step["done"] for step in steps] == [True, False, False, False]
    assert "accounts add" in steps[0]["how"]


@pytest.mark.parametrize(
    ("subscription", "value", "tone"),
    [
        (SubscriptionState("~", "Active", NOW + timedelta(days=1), NOW), "Active", "good"),
        (SubscriptionState("~", "Expired", NOW - timedelta(days=1), NOW), "Expired", "waiting"),
        (SubscriptionState("~", "Suspended", NOW + timedelta(days=1), NOW), "Suspended", "waiting"),
        (SubscriptionState("~", "Active", None, NOW, ("/presence",)), "Partly active", "waiting"),
    ],
)
def test_the_subscription_says_how_it_is(subscription: SubscriptionState, value: str, tone: str) -> None:
    shown = view.show_summary(summary(subscriptions=(subscription,)), settings(), unmasked=False)
    assert (shown["subscription"]["value"], shown["subscription"]["tone"]) == (value, tone)


def test_an_old_inbox_is_alarming() -> None:
    told = summary(inbox=InboxState(waiting=3, oldest_seconds=61.0, ever=True))
    shown = view.show_summary(told, settings(), unmasked=False)["inbox"]
    assert (shown["value"], shown["note"], shown["tone"]) == ("3 waiting", "the oldest for 61.0 s", "bad")


def test_the_axis_scales_with_the_window() -> None:
    marks = view.axis({"window": 12.0, "lagMin": 0.3, "lagMax": 1.0})
    assert [mark["text"] for mark in marks] == ["0 s", "0.3 s", "1 s", "3 s", "6 s", "12 s"]
    assert [mark["at"] for mark in marks] == sorted(mark["at"] for mark in marks)
    assert marks[-1]["at"] == 1


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (None, "–"),
        (3.44, "3.4 s"),
        (99.96, "1 min 40 s"),
        (7260, "2 h 01 min"),
        (604_799, "6 d 23 h"),
    ],
)
def test_durations_are_short(seconds: float | None, said: str) -> None:
    assert view.duration(seconds) == said


def test_a_swept_call_has_no_time_to_record() -> None:
    swept = lane(stage=Stage.FINAL, bootstrapped_at=NOW, bootstrapped_by=Source.CALL_LOG, source=Source.SWEEP)
    assert view.show_lane(swept, NOW, unmasked=False)["tone"] == "swept"


@pytest.mark.parametrize(
    ("status", "code", "shown"),
    [
        ("Active", None, ("Active", "good")),
        ("Active", "SUB-521", ("Active so far", "waiting")),
        ("Active", "unreachable-name", ("Active so far", "waiting")),
        ("Missing", None, ("Missing", "waiting")),
        ("Missing", "SUB-521", ("Missing", "bad")),
    ],
)
def test_the_subscription_is_not_green_beside_a_problem(
    status: str, code: str | None, shown: tuple[str, str]
) -> None:
    about = "reach" if code and code.startswith("unreachable") else "subscription"
    problems = (ProblemToFix("~", about, code, "refused"),) if code else ()
    one = SubscriptionState("~", status, NOW + timedelta(days=1), NOW)
    told = view.show_summary(summary(subscriptions=(one,), problems=problems), settings(), unmasked=False)
    assert (told["subscription"]["value"], told["subscription"]["tone"]) == shown


@pytest.mark.parametrize(
    ("told", "expires_in", "refused", "stands"),
    [
        ("Active", 60, False, "Active"),
        ("Active", -60, False, "Expired"),
        ("Active", 60, True, "Refused"),
        ("Suspended", -60, False, "Suspended"),
    ],
)
def test_a_subscription_stands_as_we_know_it(told: str, expires_in: int, refused: bool, stands: str) -> None:
    expires_at = NOW + timedelta(seconds=expires_in)
    assert status_of(told, expires_at, NOW if refused else None, NOW)[0] == stands


def test_a_problem_that_is_only_about_setting_up_is_no_alarm() -> None:
    problem = ProblemToFix("~", "setup", "no-public-url", "Without it no event comes.")
    told = summary(calls=CallFigures(ended=1, in_window=1), problems=(problem,))
    assert view.headline(told).startswith("1 call ended")
    assert view.show_problem(problem)["tone"] == "waiting"


@pytest.mark.parametrize(("value", "size"), [("42 s", ""), ("1 min 5 s", "long"), ("1 min 53 s", "longer")])
def test_long_values_are_written_smaller(value: str, size: str) -> None:
    assert view.figure(value, "")["size"] == size


def test_marks_of_the_axis_keep_apart() -> None:
    marks = view.axis({"window": 120.0, "lagMin": 3.0, "lagMax": 3.2})
    assert [mark["text"] for mark in marks] == ["0 s", "3 s", "30 s", "60 s", "120 s"]
