"""The rate buckets that replicas share, on both databases."""

import asyncio
from datetime import datetime, timedelta

import pytest
from sqlalchemy import update

from app import metrics
from app.db.engine import Database
from app.db.tables import rate_buckets
from app.errors import RateLimited, StorageUnavailable
from app.ids import AccountId
from app.rate_limits.shared_buckets import SharedRates
from app.ringcentral.ports import Outcome, Penalty, Priority, Silence
from app.ringcentral.wire import HEAVY, LIGHT, RateHeaders, Response, read_rate_headers
from tests.fakes.clock import FakeClock
from tests.fakes.desk import shared_rates


def answered(clock: FakeClock, status: int = 200, **fields: object) -> Outcome:
    return Outcome(was_sent=True, at=clock.now(), status=status, **fields)  # type: ignore[arg-type]


async def test_replicas_together_send_no_more_than_the_limit(database: Database, clock: FakeClock) -> None:
    replicas = [shared_rates(database, clock, limit=6) for _ in range(3)]
    deadline = clock.now() + timedelta(seconds=1)
    results = await asyncio.gather(
        *(replica.acquire(HEAVY, Priority.POLL, deadline) for replica in replicas for _ in range(4)),
        return_exceptions=True,
    )
    refused = [result for result in results if isinstance(result, RateLimited)]
    assert len(results) - len(refused) == 6
    assert all(result.retry_at > deadline for result in refused)


async def test_a_slot_is_free_a_window_after_its_response(database: Database, clock: FakeClock) -> None:
    rates = shared_rates(database, clock, limit=1)
    slot = await rates.acquire(HEAVY, Priority.POLL, None)
    clock.advance(5)
    await rates.settle(slot, answered(clock))
    with pytest.raises(RateLimited):
        await rates.acquire(HEAVY, Priority.POLL, clock.now() + timedelta(seconds=59))
    before = clock.now()
    await rates.acquire(HEAVY, Priority.POLL, clock.now() + timedelta(seconds=61))
    assert (clock.now() - before).total_seconds() >= 60


async def test_a_request_that_was_never_sent_gives_its_slot_back(
    database: Database, clock: FakeClock
) -> None:
    rates = shared_rates(database, clock, limit=1)
    slot = await rates.acquire(HEAVY, Priority.POLL, None)
    await rates.settle(slot, Outcome(was_sent=False, at=clock.now()))
    await rates.acquire(HEAVY, Priority.POLL, clock.now())


async def test_a_429_silences_the_bucket_for_every_replica_and_no_other_group(
    database: Database, clock: FakeClock
) -> None:
    one, other = shared_rates(database, clock), shared_rates(database, clock)
    slot = await one.acquire(HEAVY, Priority.POLL, None)
    penalty = Penalty(reach=Silence.BUCKET, until=clock.now() + timedelta(seconds=60))
    await one.settle(slot, answered(clock, 429, penalty=penalty))
    with pytest.raises(RateLimited) as refusal:
        await other.acquire(HEAVY, Priority.POLL, clock.now() + timedelta(seconds=59))
    assert (refusal.value.retry_at - clock.now()).total_seconds() >= 60
    await other.acquire(LIGHT, Priority.POLL, clock.now())


async def test_the_global_limit_silences_every_group(database: Database, clock: FakeClock) -> None:
    rates = shared_rates(database, clock)
    slot = await rates.acquire(HEAVY, Priority.POLL, None)
    penalty = Penalty(reach=Silence.EVERYTHING, until=clock.now() + timedelta(seconds=60))
    await rates.settle(slot, answered(clock, 429, penalty=penalty))
    with pytest.raises(RateLimited):
        await rates.acquire(LIGHT, Priority.POLL, clock.now() + timedelta(seconds=30))


async def test_the_global_limit_silences_every_user(database: Database, clock: FakeClock) -> None:
    mine, theirs = shared_rates(database, clock), shared_rates(database, clock, holder=AccountId("908070002"))
    await theirs.settle(await theirs.acquire(LIGHT, Priority.POLL, None), answered(clock))
    slot = await mine.acquire(HEAVY, Priority.POLL, None)
    penalty = Penalty(reach=Silence.EVERYTHING, until=clock.now() + timedelta(seconds=60))
    await mine.settle(slot, answered(clock, 429, penalty=penalty))
    with pytest.raises(RateLimited):
        await theirs.acquire(LIGHT, Priority.POLL, clock.now() + timedelta(seconds=59))
    await theirs.acquire(LIGHT, Priority.POLL, clock.now() + timedelta(seconds=61))


async def test_an_identical_running_request_is_not_a_penalty(database: Database, clock: FakeClock) -> None:
    rates = shared_rates(database, clock)
    slot = await rates.acquire(HEAVY, Priority.POLL, None)
    penalty = Penalty(reach=Silence.REQUEST, until=clock.now() + timedelta(seconds=2))
    await rates.settle(slot, answered(clock, 429, penalty=penalty))
    await rates.acquire(HEAVY, Priority.POLL, clock.now())


async def test_limit_and_window_are_learnt_from_headers(database: Database, clock: FakeClock) -> None:
    rates = shared_rates(database, clock, limit=10)
    slot = await rates.acquire(HEAVY, Priority.POLL, None)
    await rates.settle(
        slot, answered(clock, rates=RateHeaders(group="Heavy", limit=2, remaining=1, window_seconds=6.0))
    )
    await rates.acquire(HEAVY, Priority.POLL, None)
    with pytest.raises(RateLimited):
        await rates.acquire(HEAVY, Priority.POLL, clock.now() + timedelta(seconds=5))
    await rates.acquire(HEAVY, Priority.POLL, clock.now() + timedelta(seconds=7))


@pytest.mark.parametrize(("reach", "group"), [(Silence.BUCKET, HEAVY), (Silence.EVERYTHING, LIGHT)])
async def test_unsettled_slots_are_settled_before_the_next_request(
    database: Database, clock: FakeClock, monkeypatch: pytest.MonkeyPatch, reach: Silence, group: str
) -> None:
    rates = shared_rates(database, clock)
    slot = await rates.acquire(HEAVY, Priority.POLL, None)
    penalty = Penalty(reach=reach, until=clock.now() + timedelta(seconds=60))

    def away() -> None:
        raise StorageUnavailable("away")

    with monkeypatch.context() as patch:
        patch.setattr(database, "write", away)
        await rates.settle(slot, answered(clock, 429, penalty=penalty))
    with pytest.raises(RateLimited):
        await rates.acquire(group, Priority.POLL, clock.now() + timedelta(seconds=30))


async def test_a_reader_behind_polls_gets_an_estimate_that_holds(
    database: Database, clock: FakeClock
) -> None:
    polls, reader = shared_rates(database, clock, limit=6), shared_rates(database, clock, limit=6)

    async def is_granted(rates: SharedRates, priority: Priority) -> bool:
        try:
            await rates.settle(await rates.acquire(HEAVY, priority, clock.now()), answered(clock))
        except RateLimited:
            return False
        return True

    async def poll_until(moment: datetime) -> None:
        while clock.now() < moment:
            await is_granted(polls, Priority.POLL)
            clock.advance(1)

    await poll_until(clock.now() + timedelta(seconds=90))
    with pytest.raises(RateLimited) as refused:
        await reader.acquire(HEAVY, Priority.READER, clock.now())
    await poll_until(refused.value.retry_at)
    for _ in range(5):  # the seconds that a reader's request waits for its turn
        if await is_granted(reader, Priority.READER):
            return
        await poll_until(clock.now() + timedelta(seconds=1))
    pytest.fail("the reader was told to come back in vain")


async def test_a_bucket_with_an_absurd_limit_recovers(database: Database, clock: FakeClock) -> None:
    rates = shared_rates(database, clock)
    await rates.settle(await rates.acquire(HEAVY, Priority.POLL, None), answered(clock))
    poison = {"l": 999_999_999_999, "d": 1e300, "n": 1, "p": 10**30, "s": [[0, 4, 10**17, None], "x"]}
    async with database.write() as db:
        await db.execute(update(rate_buckets).values(state=poison))
    slot = await rates.acquire(HEAVY, Priority.POLL, clock.now())
    await rates.settle(slot, answered(clock, rates=RateHeaders(limit=10, remaining=9)))
    assert (await rates.peek(HEAVY)).limit == 10


async def test_absurd_rate_headers_are_counted(database: Database, clock: FakeClock) -> None:
    rates = shared_rates(database, clock)
    counted = metrics.RATE_HEADERS_IGNORED.labels(header="x-rate-limit-limit")._value
    windows = metrics.RATE_HEADERS_IGNORED.labels(header="x-rate-limit-window")._value
    before = counted.get(), windows.get()
    headers = {"X-Rate-Limit-Limit": "999999999999", "X-Rate-Limit-Window": "0.5"}
    read = read_rate_headers(Response.of(200, headers, sent_at=clock.now()), clock.now())
    await rates.settle(await rates.acquire(HEAVY, Priority.POLL, None), answered(clock, rates=read))
    assert (counted.get(), windows.get()) == (before[0] + 1, before[1] + 1)
    state = await rates.peek(HEAVY)
    assert (state.limit, state.window_seconds) == (None, None)
