"""Problems as they are stored."""

from datetime import UTC, datetime

from app.ops.problems.model import Subject, read_problem

NOW = datetime(2026, 3, 10, 18, 10, 30, tzinfo=UTC)


def test_subject_stands_in_for_a_missing_code() -> None:
    found = read_problem(
        Subject.SUBSCRIPTION, "~", {"code": None, "detail": "timeout", "since": NOW.isoformat()}
    )
    assert (found.code, found.detail, found.since) == ("subscription", "timeout", NOW)
