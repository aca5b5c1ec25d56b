"""What readiness makes of what it sees."""

from app.db.schema import SchemaState
from app.ops.health.router import check_inbox, check_schema_state
from app.ops.states import MOST_COUNTED, InboxState


def test_schema_of_another_release_is_not_ready() -> None:
    assert check_schema_state(SchemaState("b", "b", serves=True)).ok
    behind = check_schema_state(SchemaState(None, "b", serves=False))
    assert not behind.ok
    assert "aftercall migrate" in (behind.todo or "")


def test_small_backlog_is_ready() -> None:
    assert check_inbox(InboxState(), 120.0).ok
    assert check_inbox(InboxState(waiting=500, oldest_seconds=59.0), 120.0).ok


def test_backlog_older_than_half_the_window_is_not_ready() -> None:
    check = check_inbox(InboxState(waiting=1, oldest_seconds=61.0), 120.0)
    assert not check.ok
    assert check.todo


def test_uncounted_backlog_is_not_ready() -> None:
    check = check_inbox(InboxState(waiting=MOST_COUNTED, oldest_seconds=1.0), 120.0)
    assert not check.ok
    assert check.detail.startswith("10000 or more waiting")
