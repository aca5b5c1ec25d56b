"""The figures and problems of the dashboard in words."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.accounts.access import Access
from app.accounts.overview import AccountOverview, CredentialStatus
from app.ids import AccountId
from app.ops.dashboard import summary_rows as view
from app.ops.figures.budget import Budget, SlotUse
from app.ops.figures.call_figures import CallFigures, CallInWindow
from app.ops.figures.summary import ServiceSummary
from app.ops.problems.model import ProblemToFix, Subject
from app.ops.states import InboxState, SubscriptionState, current_status
from app.settings import Settings

NOW = datetime(2026, 3, 10, 18, 10, tzinfo=UTC)
DANA = {"phoneNumber": "+15550179001", "name": "Dana Field"}
ANA = {"phoneNumber": "+15550100101", "name": "Ana Ruiz", "extensionId": "711000101"}


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
    ("figures", "said"),
    [
        (CallFigures(), "Waiting for the first call."),
        (CallFigures(live=1), "A call is in progress."),
        (CallFigures(ended=1, in_window=1), "1 call ended in the last hour.\nIts record was found."),
        (CallFigures(ended=12, in_window=12), "12 calls ended in the last hour.\nEvery record was found."),
        (
            CallFigures(ended=9, in_window=6, waiting=1, overdue=1, absent=1),
            (
                "9 calls ended in the last hour.\n"
                "1 is being looked up, 1 missed the window and 1 left no record."
            ),
        ),
    ],
)
def test_headline_says_what_is_missing(figures: CallFigures, said: str) -> None:
    assert view.headline(summary(calls=figures)) == said


def test_problem_takes_precedence_in_the_headline() -> None:
    problem = ProblemToFix(
        "908070001", Subject.CREDENTIALS, "CMN-408", "[ReadCompanyCallLog] permission required"
    )
    reported = summary(calls=CallFigures(ended=1, in_window=1), problems=(problem,))
    assert view.headline(reported) == "A problem needs your attention."
    shown = view.describe_problem(problem)
    assert shown["title"] == "A permission is missing"
    assert shown["detail"] == "[ReadCompanyCallLog] permission required"


@pytest.mark.parametrize(
    ("about", "code", "title"),
    [
        ("credentials", "CMN-401", "An app scope is missing"),
        ("credentials", "unreadable", "Stored credentials cannot be used"),
        ("credentials", "wrong-account", "The credentials belong to another account"),
        ("clock", "clock-skew", "A clock is wrong"),
        ("records", "OAU-213", "RingCentral refuses our credentials"),
        ("records", "invalid_grant", "RingCentral refuses our credentials"),
        ("subscription", "subscription", "RingCentral refuses the subscription"),
        ("subscription", "SUB-521", "RingCentral cannot reach us"),
        ("reach", "unreachable-name", "RingCentral cannot be reached"),
        ("reach", "unreachable-server", "RingCentral answers with errors"),
        ("setup", "no-credentials", "No RingCentral credentials are configured"),
        ("subscription", "disabled-filters", "RingCentral omits some events"),
        ("records", "XYZ-1", "Something is wrong with this account"),
    ],
)
def test_each_problem_has_a_title_and_a_remedy(about: str, code: str, title: str) -> None:
    shown = view.describe_problem(ProblemToFix("~", Subject(about), code, "said RingCentral"))
    assert shown["title"] == title
    assert shown["todo"]


@pytest.mark.parametrize(
    ("problem", "where"),
    [
        (
            ProblemToFix("908070001", Subject.CREDENTIALS, "CMN-401", "", None, "ext-1"),
            "account 908070001 · ext-1",
        ),
        (ProblemToFix("908070001", Subject.CREDENTIALS, "CMN-401", "", None, "own"), "account 908070001"),
        (ProblemToFix("~", Subject.SUBSCRIPTION, "SUB-521", ""), ""),
        (ProblemToFix("~", Subject.CLOCK, "clock-skew", ""), ""),
    ],
)
def test_problem_names_account_and_credentials(problem: ProblemToFix, where: str) -> None:
    assert view.describe_problem(problem)["where"] == where


def test_share_is_never_rounded_up_to_100_percent() -> None:
    nearly = summary(calls=CallFigures(ended=100_000, in_window=99_999, later=1))
    assert view.describe_summary(nearly, settings(), unmasked=False)["figures"]["found"]["value"] == "99.9 %"


def test_unchanged_summary_gives_the_same_rows() -> None:
    first = view.describe_summary(summary(), settings(), unmasked=False)
    again = view.describe_summary(
        replace(summary(), at=NOW + timedelta(seconds=1)), settings(), unmasked=False
    )
    assert first == again


def test_budget_shows_slots_and_penalty() -> None:
    slot = SlotUse("poll", NOW, NOW + timedelta(seconds=60))
    budget = Budget(10, 9, 60.0, silent_until=NOW + timedelta(seconds=30), slots=(slot,))
    shown = view.describe_summary(summary(budget=budget), settings(), unmasked=False)["budget"]
    assert (shown["free"], shown["limit"], len(shown["slots"])) == (9, 10, 1)
    assert shown["silentUntil"] is not None
    assert shown["silentUntil"] - shown["slots"][0]["sentAt"] == 30_000


def test_waiting_list_is_masked() -> None:
    call = CallInWindow("call_1", "1229", NOW, NOW + timedelta(seconds=120), 0, DANA, ANA)
    shown = view.describe_summary(summary(waiting=(call,)), settings(), unmasked=False)
    assert shown["waiting"][0]["from"] == "+1 555 ••• 9001"


def test_first_steps_show_what_is_done(make_settings: Any) -> None:
    subscription = SubscriptionState("~", "Active", NOW + timedelta(days=7), NOW)
    ready = make_settings(
        rc_client_id="id", rc_client_secret="s", rc_jwt="j", public_url="https://aftercall.example.com"
    )
    steps = view.first_steps(summary(subscriptions=(subscription,)), ready)
    assert [step["done"] for step in steps] == [True, True, True, False]
    assert not any(step["done"] for step in view.first_steps(summary(), make_settings()))


def test_added_account_completes_the_first_step(make_settings: Any) -> None:
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
def test_state_of_the_subscription(subscription: SubscriptionState, value: str, tone: str) -> None:
    shown = view.describe_summary(summary(subscriptions=(subscription,)), settings(), unmasked=False)
    assert (shown["subscription"]["value"], shown["subscription"]["tone"]) == (value, tone)


def test_old_inbox_is_red() -> None:
    reported = summary(inbox=InboxState(waiting=3, oldest_seconds=61.0, ever=True))
    shown = view.describe_summary(reported, settings(), unmasked=False)["inbox"]
    assert (shown["value"], shown["note"], shown["tone"]) == ("3 waiting", "the oldest for 61.0 s", "bad")


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
def test_subscription_is_not_green_with_a_problem(
    status: str, code: str | None, shown: tuple[str, str]
) -> None:
    about = Subject.REACH if code and code.startswith("unreachable") else Subject.SUBSCRIPTION
    problems = (ProblemToFix("~", about, code, "refused"),) if code else ()
    one = SubscriptionState("~", status, NOW + timedelta(days=1), NOW)
    reported = view.describe_summary(
        summary(subscriptions=(one,), problems=problems), settings(), unmasked=False
    )
    assert (reported["subscription"]["value"], reported["subscription"]["tone"]) == shown


@pytest.mark.parametrize(
    ("reported", "expires_in", "refused", "stands"),
    [
        ("Active", 60, False, "Active"),
        ("Active", -60, False, "Expired"),
        ("Active", 60, True, "Refused"),
        ("Suspended", -60, False, "Suspended"),
    ],
)
def test_known_status_overrides_reported_status(
    reported: str, expires_in: int, refused: bool, stands: str
) -> None:
    expires_at = NOW + timedelta(seconds=expires_in)
    assert current_status(reported, expires_at, NOW if refused else None, NOW)[0] == stands


def test_setup_problem_is_no_alarm() -> None:
    problem = ProblemToFix("~", Subject.SETUP, "no-public-url", "Without it no event comes.")
    reported = summary(calls=CallFigures(ended=1, in_window=1), problems=(problem,))
    assert view.headline(reported).startswith("1 call ended")
    assert view.describe_problem(problem)["tone"] == "waiting"
