"""Words of the dashboard on missing calls and on accounts."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from app.accounts.access import Access, Level
from app.accounts.overview import AccountOverview, CredentialStatus
from app.calls.model import Stage
from app.enrichment.call_log.gaps import REGULAR_ID, Sweep
from app.ids import AccountId, ExtensionId
from app.ops.dashboard.completeness_rows import MOST_LINES, show_accounts, show_ledger
from app.ops.figures.completeness import MOST_CALLS, SINCE_GAP, Completeness, Day, Doubtful, Recordless
from app.ops.figures.summary import DeadLetters, ServiceSummary
from app.ops.problems.listing import ProblemToFix

NOW = datetime(2026, 3, 10, 18, 10, tzinfo=UTC)
TODAY = date(2026, 3, 10)
TEA = AccountId("908070001")
ENDED = {"code": "sign-in-again", "detail": "sign in again", "since": None}


def ledger(**fields: Any) -> Completeness:
    values: dict[str, Any] = {
        "since": NOW - timedelta(days=1),
        "days": [Day(TODAY, final=8, reconciled=2)],
        "calls": [],
        "live": [],
        "gaps": [],
        "dead_letters": DeadLetters(NOW),
        "last_look_at": NOW,
    }
    return Completeness(**values | fields)


def summary_of(accounts: list[AccountOverview], **fields: Any) -> ServiceSummary:
    values: dict[str, Any] = {
        "at": NOW,
        "window_seconds": 120.0,
        "lag_min_seconds": 3.0,
        "lag_max_seconds": 10.0,
        "last_read_at": NOW - timedelta(minutes=5),
        "accounts": tuple(accounts),
    }
    return ServiceSummary(**values | fields)


def sweep(reason: str = "service-down", **fields: Any) -> Sweep:
    values: dict[str, Any] = {
        "account_id": AccountId("~"),
        "sweep_id": "gap_1",
        "reason": reason,
        "from_at": NOW - timedelta(minutes=30),
        "to_at": NOW - timedelta(minutes=10),
        "due_at": NOW,
        "created_at": NOW,
        "passes": 0,
        "records": 0,
        "found": 0,
    }
    empty: dict[str, Any] = dict.fromkeys(("cursor_at", "span_seconds", "done_at", "asked_at"))
    return Sweep(**empty | values | fields)


def recordless(number: int = 1, **fields: Any) -> Recordless:
    values: dict[str, Any] = {
        "call_id": f"call_{number}",
        "session_id": f"122{number}",
        "telephony_session_id": f"s-{number}",
        "stage": Stage.ABSENT,
        "reason": "never-logged",
        "since": NOW,
        "next_look_at": None,
    }
    return Recordless(**values | fields)


def doubtful(**fields: Any) -> Doubtful:
    values: dict[str, Any] = {
        "call_id": "call_9", "session_id": "1229", "telephony_session_id": "s-9", "reason": SINCE_GAP,
        "started_at": NOW - timedelta(hours=1), "since": NOW - timedelta(minutes=50), "next_look_at": None,
    }  # fmt: skip
    return Doubtful(**values | fields)


def test_a_call_in_doubt_is_listed_with_what_is_in_doubt() -> None:
    (shown,) = show_ledger(ledger(live=[doubtful()]), NOW)["calls"]
    assert (shown["name"], shown["why"]) == ("1229", "live since before a gap: is it over?")


def member(name: str = "own", *problems: dict[str, Any], **fields: Any) -> CredentialStatus:
    return CredentialStatus(
        AccountId("~"), name, "own" if name == "own" else "jwt", Access(), problems, NOW, **fields
    )


def verdict(told: Completeness) -> tuple[str, str]:
    state = show_ledger(told, NOW)["state"]
    return state["value"], state["tone"]


@pytest.mark.parametrize(
    ("told", "said"),
    [
        (ledger(), ("Nothing missing", "good")),
        (ledger(days=[Day(TODAY)]), ("Nothing missing", "")),
        (ledger(days=[Day(TODAY, final=1, absent={"test-call": 3})]), ("Nothing missing", "good")),
        (ledger(gaps=[sweep(done_at=NOW)]), ("Nothing missing", "good")),
        (ledger(gaps=[sweep("backfill")]), ("Nothing missing", "good")),
        (ledger(gaps=[sweep()]), ("Catching up", "waiting")),
        (ledger(calls=[recordless(stage=Stage.ENDED)]), ("1 looked for", "later")),
        (ledger(live=[doubtful()]), ("1 in doubt", "waiting")),
        (ledger(live=[doubtful()], gaps=[sweep()]), ("1 in doubt", "waiting")),
        (ledger(days=[Day(TODAY, final=1, absent={"never-logged": 2})]), ("2 missing", "bad")),
        (ledger(gaps=[sweep(to_at=None)]), ("No events", "bad")),
    ],
)
def test_one_word_says_whether_a_call_is_missing(told: Completeness, said: tuple[str, str]) -> None:
    assert verdict(told) == said


def test_a_day_is_the_sum_of_what_became_of_its_calls() -> None:
    day = Day(
        TODAY,
        final=5,
        reconciled=2,
        bootstrapped=1,
        open=1,
        absent={"never-logged": 1, "test-call": 2},
        swept=4,
    )
    (shown,) = show_ledger(ledger(days=[Day(date(2026, 3, 9)), day]), NOW)["days"]
    assert (shown["name"], shown["ended"]) == ("Today", "12 ended")
    assert {part["kind"]: part["number"] for part in shown["parts"]} == {
        "final": 5,
        "way": 3,
        "open": 1,
        "absent": 1,
        "test": 2,
    }
    assert shown["swept"].startswith("4 ")


@pytest.mark.parametrize(
    ("work", "state", "tone", "share"),
    [
        (sweep(to_at=None), "still lasts", "bad", None),
        (sweep(), "read soon", "waiting", None),
        (sweep(cursor_at=NOW - timedelta(minutes=25)), "being read", "waiting", 0.25),
        (sweep(passes=1), "read once, and once more for late records", "waiting", None),
        (sweep(passes=2, done_at=NOW, cursor_at=NOW), "done", "good", None),
        (sweep(problem=ENDED), "does not get on", "bad", None),
        (
            sweep("backfill", lease_until=NOW + timedelta(seconds=9), cursor_at=NOW),
            "being read",
            "waiting",
            1.0,
        ),
        (
            sweep("backfill", cursor_at=NOW - timedelta(minutes=20)),
            "interrupted: the same command goes on",
            "waiting",
            0.5,
        ),
    ],
)
def test_a_gap_and_a_backfill_say_how_far_they_are(
    work: Sweep, state: str, tone: str, share: float | None
) -> None:
    (shown,) = show_ledger(ledger(gaps=[work]), NOW)["works"]
    assert (shown["state"], shown["tone"], shown["share"]) == (state, tone, share)


def test_why_it_does_not_get_on_and_what_ringcentral_said_is_told() -> None:
    told = [
        sweep(problem=ENDED, detail="Read timed out"),
        sweep("subscription-suspended", detail="Read timed out"),
    ]
    shown = show_ledger(ledger(gaps=told), NOW)["works"]
    assert [(one["title"], one["detail"]) for one in shown] == [
        ("The service was away", "sign in again"),
        ("RingCentral had suspended the subscription", "Read timed out"),
    ]


def test_the_regular_look_is_told_while_it_reads_or_cannot() -> None:
    idle = sweep("regular", sweep_id=REGULAR_ID, done_at=NOW)
    reading = sweep("regular", sweep_id=REGULAR_ID, done_at=NOW, cursor_at=NOW - timedelta(minutes=20))
    stuck = sweep("regular", sweep_id=REGULAR_ID, done_at=NOW, problem=ENDED)
    assert show_ledger(ledger(regular=[idle]), NOW)["works"] == []
    shown = show_ledger(ledger(regular=[reading, stuck]), NOW)["works"]
    assert [(one["state"], one["tone"]) for one in shown] == [
        ("being read", "waiting"),
        ("does not get on", "bad"),
    ]


def test_what_is_not_over_comes_first_and_the_rest_is_counted() -> None:
    done = [sweep(done_at=NOW, sweep_id=f"gap_{number}") for number in range(MOST_LINES)]
    shown = show_ledger(ledger(gaps=[*done, sweep(to_at=None)]), NOW)
    assert shown["works"][0]["state"] == "still lasts"
    assert len(shown["works"]) == MOST_LINES
    assert shown["moreWorks"] == "and 1 more"


def test_lost_calls_come_before_those_that_are_looked_for_and_test_calls_are_no_loss() -> None:
    overdue = recordless(1, stage=Stage.ENDED, reason="not-in-the-call-log-yet", next_look_at=NOW)
    lost = recordless(2, session_id=None, reason="of-a-new-kind")
    shown = show_ledger(ledger(calls=[overdue, recordless(3, reason="test-call"), lost]), NOW)["calls"]
    assert [(one["name"], one["why"], one["tone"]) for one in shown] == [
        ("s-2", "of a new kind", "absent"),
        ("1221", "not in the Call Log yet", "overdue"),
    ]
    assert (shown[0]["next"], shown[1]["next"]) == (None, int(NOW.timestamp() * 1000))


def test_a_list_that_was_cut_short_does_not_claim_to_be_all() -> None:
    calls = [recordless(number) for number in range(MOST_CALLS)]
    assert show_ledger(ledger(calls=calls), NOW)["moreCalls"] == "and 194 or more"
    assert show_ledger(ledger(calls=calls[:7]), NOW)["moreCalls"] == "and 1 more"


def test_accounts_say_whose_credentials_reach_how_far_and_what_they_want() -> None:
    alone = CredentialStatus(
        TEA,
        "ext-2",
        "oauth",
        Access(Level.EXTENSION, ExtensionId("711000102")),
        (ENDED,),
        NOW,
        is_blocked=True,
    )
    shown = show_accounts(summary_of([AccountOverview(TEA, True, None, (member(), alone))]))
    (line,) = shown["lines"]
    assert (line["name"], line["tone"]) == ("Account 908070001", "waiting")
    assert [(one["kind"], one["sees"], one["tone"], one["todo"]) for one in line["credentials"]] == [
        ("JWT of the environment", "sees the whole account", "good", []),
        ("signed in", "sees extension 711000102 alone", "bad", ["sign in again"]),
    ]
    assert (shown["state"]["value"], shown["state"]["note"]) == ("1 account", "it needs a person")


@pytest.mark.parametrize(
    ("accounts", "state"),
    [
        ([], ("None", "set RC_CLIENT_ID, RC_CLIENT_SECRET and RC_JWT", "waiting")),
        ([AccountOverview(TEA, True, None, (member(),))], ("1 account", "can be read", "good")),
        (
            [
                AccountOverview(TEA, True, None, (member(),)),
                AccountOverview(AccountId("2"), False, NOW, (member("ext-1", ENDED, is_blocked=True),)),
                AccountOverview(AccountId("3"), False, NOW, ()),
            ],
            ("2 accounts", "1 of 2 needs a person", "bad"),
        ),
    ],
)
def test_the_state_of_all_accounts_fits_on_a_line(
    accounts: list[AccountOverview], state: tuple[str, str, str]
) -> None:
    shown = show_accounts(summary_of(accounts))["state"]
    assert (shown["value"], shown["note"], shown["tone"]) == state


def test_an_account_without_credentials_says_so() -> None:
    (line,) = show_accounts(summary_of([AccountOverview(TEA, False, NOW, ())]))["lines"]
    assert (line["credentials"], line["tone"]) == ([], "")
    assert "No credentials" in line["note"]


@pytest.mark.parametrize(
    ("fields", "state"),
    [
        ({"last_read_at": None}, ("1 account", "not read yet", "")),
        ({"last_read_at": NOW - timedelta(hours=3)}, ("1 account", "last read 3 h 00 min ago", "waiting")),
        (
            {"problems": (ProblemToFix("~", "reach", "unreachable-name", "no answer"),)},
            ("1 account", "not now: RingCentral cannot be reached", "bad"),
        ),
    ],
)
def test_nobody_is_said_to_be_readable_whom_nobody_could_read_lately(
    fields: dict[str, Any], state: tuple[str, str, str]
) -> None:
    shown = show_accounts(summary_of([AccountOverview(TEA, True, None, (member(),))], **fields))["state"]
    assert (shown["value"], shown["note"], shown["tone"]) == state
