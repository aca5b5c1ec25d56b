"""The completeness of the last days in words."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from app.calls.model import Stage
from app.enrichment.gaps import REGULAR_ID, Sweep
from app.ids import AccountId
from app.ops.dashboard.completeness_rows import MOST_LINES, describe_completeness
from app.ops.figures.completeness import (
    MOST_CALLS,
    CallInDoubt,
    CallWithoutRecord,
    Completeness,
    Day,
    DoubtReason,
)
from app.ops.figures.intake import DeadLetters

NOW = datetime(2026, 3, 10, 18, 10, tzinfo=UTC)
TODAY = date(2026, 3, 10)
ENDED = {"code": "sign-in-again", "detail": "sign in again", "since": None}


def completeness(**fields: Any) -> Completeness:
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


def recordless(number: int = 1, **fields: Any) -> CallWithoutRecord:
    values: dict[str, Any] = {
        "call_id": f"call_{number}",
        "session_id": f"122{number}",
        "telephony_session_id": f"s-{number}",
        "stage": Stage.ABSENT,
        "reason": "never-logged",
        "since": NOW,
        "next_look_at": None,
    }
    return CallWithoutRecord(**values | fields)


def doubtful(**fields: Any) -> CallInDoubt:
    values: dict[str, Any] = {
        "call_id": "call_9", "session_id": "1229", "telephony_session_id": "s-9",
        "reason": DoubtReason.SINCE_GAP, "started_at": NOW - timedelta(hours=1),
        "since": NOW - timedelta(minutes=50), "next_look_at": None,
    }  # fmt: skip
    return CallInDoubt(**values | fields)


def test_call_in_doubt_is_listed_with_the_reason() -> None:
    (shown,) = describe_completeness(completeness(live=[doubtful()]), NOW)["calls"]
    assert (shown["name"], shown["why"]) == ("1229", "live since before a gap: it may be over")


def verdict(reported: Completeness) -> tuple[str, str]:
    state = describe_completeness(reported, NOW)["state"]
    return state["value"], state["tone"]


@pytest.mark.parametrize(
    ("reported", "said"),
    [
        (completeness(), ("Nothing missing", "good")),
        (completeness(days=[Day(TODAY)]), ("Nothing missing", "")),
        (completeness(days=[Day(TODAY, final=1, absent={"test-call": 3})]), ("Nothing missing", "good")),
        (completeness(gaps=[sweep(done_at=NOW)]), ("Nothing missing", "good")),
        (completeness(gaps=[sweep("backfill")]), ("Nothing missing", "good")),
        (completeness(gaps=[sweep()]), ("Catching up", "waiting")),
        (completeness(calls=[recordless(stage=Stage.ENDED)]), ("1 being looked up", "later")),
        (completeness(live=[doubtful()]), ("1 in doubt", "waiting")),
        (completeness(live=[doubtful()], gaps=[sweep()]), ("1 in doubt", "waiting")),
        (completeness(days=[Day(TODAY, final=1, absent={"never-logged": 2})]), ("2 missing", "bad")),
        (completeness(gaps=[sweep(to_at=None)]), ("No events", "bad")),
    ],
)
def test_verdict_of_completeness(reported: Completeness, said: tuple[str, str]) -> None:
    assert verdict(reported) == said


def test_day_is_the_sum_of_its_call_outcomes() -> None:
    day = Day(
        TODAY,
        final=5,
        reconciled=2,
        bootstrapped=1,
        open=1,
        absent={"never-logged": 1, "test-call": 2},
        swept=4,
    )
    (shown,) = describe_completeness(completeness(days=[Day(date(2026, 3, 9)), day]), NOW)["days"]
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
        (sweep(to_at=None), "not over yet", "bad", None),
        (sweep(), "to be read soon", "waiting", None),
        (sweep(cursor_at=NOW - timedelta(minutes=25)), "being read", "waiting", 0.25),
        (sweep(passes=1), "read once, and again for late records", "waiting", None),
        (sweep(passes=2, done_at=NOW, cursor_at=NOW), "done", "good", None),
        (sweep(problem=ENDED), "makes no progress", "bad", None),
        (
            sweep("backfill", lease_until=NOW + timedelta(seconds=9), cursor_at=NOW),
            "being read",
            "waiting",
            1.0,
        ),
        (
            sweep("backfill", cursor_at=NOW - timedelta(minutes=20)),
            "interrupted: the same command continues",
            "waiting",
            0.5,
        ),
    ],
)
def test_sweep_shows_its_progress(work: Sweep, state: str, tone: str, share: float | None) -> None:
    (shown,) = describe_completeness(completeness(gaps=[work]), NOW)["works"]
    assert (shown["state"], shown["tone"], shown["share"]) == (state, tone, share)


def test_sweep_shows_its_problem_or_ringcentrals_explanation() -> None:
    reported = [
        sweep(problem=ENDED, detail="Read timed out"),
        sweep("subscription-suspended", detail="Read timed out"),
    ]
    shown = describe_completeness(completeness(gaps=reported), NOW)["works"]
    assert [(one["title"], one["detail"]) for one in shown] == [
        ("The service was down", "sign in again"),
        ("RingCentral had suspended the subscription", "Read timed out"),
    ]


def test_regular_sweep_is_shown_only_while_reading_or_failing() -> None:
    idle = sweep("regular", sweep_id=REGULAR_ID, done_at=NOW)
    reading = sweep("regular", sweep_id=REGULAR_ID, done_at=NOW, cursor_at=NOW - timedelta(minutes=20))
    stuck = sweep("regular", sweep_id=REGULAR_ID, done_at=NOW, problem=ENDED)
    assert describe_completeness(completeness(regular=[idle]), NOW)["works"] == []
    shown = describe_completeness(completeness(regular=[reading, stuck]), NOW)["works"]
    assert [(one["state"], one["tone"]) for one in shown] == [
        ("being read", "waiting"),
        ("makes no progress", "bad"),
    ]


def test_unfinished_sweeps_come_first_and_the_rest_is_counted() -> None:
    done = [sweep(done_at=NOW, sweep_id=f"gap_{number}") for number in range(MOST_LINES)]
    shown = describe_completeness(completeness(gaps=[*done, sweep(to_at=None)]), NOW)
    assert shown["works"][0]["state"] == "not over yet"
    assert len(shown["works"]) == MOST_LINES
    assert shown["moreWorks"] == "and 1 more"


def test_absent_calls_come_first_and_test_calls_are_left_out() -> None:
    overdue = recordless(1, stage=Stage.ENDED, reason="not-in-the-call-log-yet", next_look_at=NOW)
    lost = recordless(2, session_id=None, reason="of-a-new-kind")
    shown = describe_completeness(
        completeness(calls=[overdue, recordless(3, reason="test-call"), lost]), NOW
    )["calls"]
    assert [(one["name"], one["why"], one["tone"]) for one in shown] == [
        ("s-2", "of a new kind", "absent"),
        ("1221", "not in the Call Log yet", "overdue"),
    ]
    assert (shown[0]["next"], shown[1]["next"]) == (None, int(NOW.timestamp() * 1000))


def test_truncated_list_counts_as_or_more() -> None:
    calls = [recordless(number) for number in range(MOST_CALLS)]
    assert describe_completeness(completeness(calls=calls), NOW)["moreCalls"] == "and 194 or more"
    assert describe_completeness(completeness(calls=calls[:7]), NOW)["moreCalls"] == "and 1 more"
