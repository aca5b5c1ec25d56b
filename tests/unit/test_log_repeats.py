"""Repeated events are logged once: outages with their end, refusals with their number."""

import asyncio

import structlog
from structlog.testing import capture_logs

from app.log_repeats import Outage, Repeats
from tests.fakes.clock import FakeClock

log = structlog.get_logger()


def test_an_outage_is_one_line_at_its_beginning_and_one_at_its_end() -> None:
    clock = FakeClock()
    outage = Outage("the database is away", clock)
    with capture_logs() as lines:
        outage.worked()
        for _ in range(200):
            outage.failed("connection refused")
            clock.advance(1)
        clock.advance(9)
        outage.worked()
        outage.worked()
    assert [line["event"] for line in lines] == ["the database is away", "the database is away: over"]
    assert lines[0]["why"] == "connection refused"
    assert (lines[1]["seconds"], lines[1]["tries"]) == (209.0, 200)


def test_a_lasting_outage_is_logged_every_five_minutes() -> None:
    clock = FakeClock()
    outage = Outage("the database is away", clock)
    with capture_logs() as lines:
        for _ in range(3600):
            outage.failed("connection refused")
            clock.advance(1)
    assert len(lines) == 12
    assert lines[-1]["tries"] == 3301


def test_intermittent_failures_are_one_outage() -> None:
    clock = FakeClock()
    outage = Outage("the database is away", clock)
    with capture_logs() as lines:
        for _ in range(60):
            outage.failed("the database took too long to commit")
            clock.advance(2)
            outage.worked()
            clock.advance(2)
        clock.advance(5)
        outage.worked()
        outage.failed("again")
    assert [line["event"].rpartition(": ")[2] for line in lines] == [
        "the database is away",
        "over",
        "the database is away",
    ]


def test_refusals_are_logged_once_a_minute_with_their_number() -> None:
    clock = FakeClock()
    repeats = Repeats(clock)
    with capture_logs() as lines:
        for _ in range(300):
            repeats.tell(log.warning, "deliveries refused", key=401, status=401)
            clock.advance(0.5)
        repeats.tell(log.warning, "deliveries refused", key=413, status=413)
        repeats.flush()
    assert [(line["status"], line["count"]) for line in lines] == [
        (401, 1),
        (401, 120),
        (401, 120),
        (413, 1),
        (401, 59),
    ]


async def test_counted_events_are_logged_even_if_nothing_follows() -> None:
    repeats = Repeats(every_seconds=0.05)
    with capture_logs() as lines:
        for _ in range(10):
            repeats.tell(log.warning, "deliveries refused")
        async with asyncio.timeout(30):
            while len(lines) < 2:  # noqa: ASYNC110 - the timer knows of no event
                await asyncio.sleep(0.01)
    assert [line["count"] for line in lines] == [1, 9]
