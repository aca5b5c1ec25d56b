"""What earlier versions stored as JSON is still read, and is written in the same form."""

from datetime import UTC, datetime, timedelta
from typing import Any

from app.enrichment.call_log import extract_sync as change_feed
from app.enrichment.gaps import Sweep
from app.enrichment.polling.learned import PollMemory
from app.enrichment.polling.limits import PlannerLimits
from app.enrichment.polling.targets import Target
from app.enrichment.polling.visibility import Visibility, prior_visibility
from app.enrichment.records import set_aside
from app.enrichment.sweeps import state as sweep_state
from app.ids import AccountId
from app.work.leases import work_lease

NOW = datetime(2026, 3, 10, 18, 0, tzinfo=UTC)
ACCOUNT = AccountId("908070001")


def stored_sweep(problem: dict[str, Any] | None) -> Sweep:
    return Sweep(
        account_id=ACCOUNT, sweep_id="gap_1", reason="service-down", from_at=NOW, to_at=NOW, cursor_at=None,
        span_seconds=None, passes=0, due_at=None, done_at=None, asked_at=None, records=0, found=0,
        created_at=NOW, problem=problem,
    )  # fmt: skip


def test_the_memory_of_polls_is_read_and_written_as_before() -> None:
    limits = PlannerLimits()
    known = prior_visibility(120.0, 3.0, 10.0)
    memory = {
        "rhythm": {"slice": 10.0, "start": 1773165000123456, "counts": [2, 0, 1]},
        "heardUntil": "2026-03-10T17:59:30.250000+00:00",
        "pages": 3,
    }
    visibility = {
        "edges": list(known.edges), "prior": list(known.prior), "weights": list(known.weights),
        "samples": 12.0,
    }  # fmt: skip
    lease = work_lease(ACCOUNT, "polls", "replica", 15.0)
    read = PollMemory.read(Target(ACCOUNT, "account", memory, visibility, lease), limits, NOW)
    assert read.visibility == Visibility(known.edges, known.prior, known.weights, 12.0)
    assert read.columns() == {"memory": memory, "visibility": visibility}


def test_the_cursor_of_the_change_feed_is_read_as_before() -> None:
    stored = {
        "token": "t", "byChange": True, "hasNewer": False, "since": "2026-03-10T17:00:00+00:00",
        "readAt": "2026-03-10T17:30:00.500000+00:00", "missingUntil": None, "changedAt": None,
    }  # fmt: skip
    cursor = change_feed._STORED.validate_python(stored)
    assert (cursor.token, cursor.by_change, cursor.since) == ("t", True, NOW - timedelta(hours=1))
    written = change_feed._STORED.dump_python(cursor, mode="json", by_alias=True)
    assert set(written) == set(stored)
    assert change_feed._STORED.validate_python(written) == cursor
    assert datetime.fromisoformat(written["readAt"]) == cursor.read_at


def test_a_change_feed_that_was_never_read_has_an_empty_cursor() -> None:
    assert change_feed._STORED.validate_python({}) == change_feed._Cursor()


def test_the_problem_of_a_sweep_is_read_and_written_as_before() -> None:
    since = "2026-03-10T17:00:00+00:00"
    for problem in (
        None,
        {"code": "users-not-asked", "detail": "ana", "since": since},
        {"code": "no-credentials", "detail": "none", "since": since},
        {"code": "CMN-102", "detail": "refused", "since": since},
        {"code": None, "detail": "refused", "since": since},
    ):
        assert sweep_state.to_json(sweep_state.read_state(stored_sweep(problem))) == problem


def test_what_was_set_aside_is_read_as_before() -> None:
    stored = {
        "since": "2026-03-10T17:00:00+00:00", "lastAt": "2026-03-10T17:59:00+00:00", "count": 2,
        "subject": "s-1", "source": "call-log", "why": "DataError",
    }  # fmt: skip
    read = set_aside._STORED.validate_python(stored)
    assert read.is_recent(NOW)
    assert set(set_aside._STORED.dump_python(read, mode="json", by_alias=True)) == set(stored)
    assert set_aside._problem(read)["since"] == stored["since"]
