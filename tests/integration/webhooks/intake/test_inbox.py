"""The inbox on both databases: it stores each delivery once before the response, many to a commit."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import func, select, text

from app.db.engine import Database
from app.db.tables import deliveries
from app.errors import StorageUnavailable
from app.ids import UNBOUND_ACCOUNT
from app.webhooks.intake.deliveries import Delivery
from app.webhooks.intake.inbox import Inbox
from app.work.wakeups import INBOX, Wakeups
from tests.cluster import free_port
from tests.factories import ACCOUNT, TELEPHONY_SESSION
from tests.fakes.clock import START, FakeClock


def a_delivery(uuid: str, raw: bytes = b'{"uuid": "1"}', account_id: str = ACCOUNT) -> Delivery:
    return Delivery(account_id, uuid, START, TELEPHONY_SESSION, raw, START.date())


async def stored(database: Database) -> list[str]:
    async with database.read() as db:
        return sorted(await db.scalars(select(deliveries.c.uuid)))


def commits() -> float:
    return REGISTRY.get_sample_value("aftercall_intake_batch_size_count") or 0.0


@pytest.fixture
async def inbox(database: Database, clock: FakeClock) -> AsyncIterator[Inbox]:
    opened = Inbox(database, clock)
    opened.start()
    yield opened
    await opened.stop()


async def test_a_delivery_is_in_the_database_when_it_is_accepted(database: Database, inbox: Inbox) -> None:
    await inbox.accept(a_delivery("1", raw=b'{"uuid": "1", "name": "\xc3\x84"}'))
    async with database.read() as db:
        row = (await db.execute(select(deliveries))).one()
    assert (row.account_id, row.uuid, row.telephony_session_id) == (ACCOUNT, "1", TELEPHONY_SESSION)
    assert row.raw == b'{"uuid": "1", "name": "\xc3\x84"}'
    assert row.received_at == START
    assert row.folded_at is None


async def test_a_repeated_delivery_is_stored_once_and_accepted_again(
    database: Database, inbox: Inbox
) -> None:
    await inbox.accept(a_delivery("1"))
    await inbox.accept(a_delivery("1"))
    await asyncio.gather(*(inbox.accept(a_delivery(uuid)) for uuid in ("1", "2", "2", "2")))
    assert await stored(database) == ["1", "2"]


async def test_the_same_uuid_of_two_accounts_is_two_deliveries(database: Database, inbox: Inbox) -> None:
    await asyncio.gather(inbox.accept(a_delivery("1")), inbox.accept(a_delivery("1", account_id="908070002")))
    assert await stored(database) == ["1", "1"]


async def test_deliveries_that_arrive_together_share_a_commit(database: Database, inbox: Inbox) -> None:
    before = commits()
    await asyncio.gather(*(inbox.accept(a_delivery(f"{number:03d}")) for number in range(300)))
    assert len(await stored(database)) == 300
    assert commits() - before <= 3


async def test_the_next_batch_gathers_during_a_commit(database: Database, inbox: Inbox) -> None:
    before = commits()

    async def send(sender: int) -> None:
        for number in range(5):
            await inbox.accept(a_delivery(f"{sender}-{number}"))

    await asyncio.gather(*(send(sender) for sender in range(40)))
    assert len(await stored(database)) == 200
    assert commits() - before <= 20


async def test_a_stopping_inbox_stores_what_it_accepted(database: Database, clock: FakeClock) -> None:
    inbox = Inbox(database, clock)
    inbox.start()
    under_way = [asyncio.create_task(inbox.accept(a_delivery(f"{number:03d}"))) for number in range(50)]
    await asyncio.sleep(0)
    await inbox.stop()
    answers = await asyncio.gather(*under_way, return_exceptions=True)
    accepted = [place for place, answer in enumerate(answers) if answer is None]
    assert len(accepted) == 50
    assert await stored(database) == [f"{number:03d}" for number in range(50)]


async def test_a_stopped_inbox_accepts_nothing(database: Database, clock: FakeClock) -> None:
    inbox = Inbox(database, clock)
    inbox.start()
    await inbox.stop()
    with pytest.raises(StorageUnavailable):
        await inbox.accept(a_delivery("1"))
    assert await stored(database) == []


async def test_an_unreachable_database_refuses_every_delivery_of_the_batch(
    clock: FakeClock, tmp_path: Path
) -> None:
    nowhere = [f"sqlite+aiosqlite:///{tmp_path}/no-such-folder/a.db"]
    nowhere += [f"postgresql+asyncpg://nobody@127.0.0.1:{free_port()}/none"]
    for url in nowhere:
        database = Database(url)
        inbox = Inbox(database, clock)
        inbox.start()
        answers = await asyncio.gather(
            *(inbox.accept(a_delivery(uuid)) for uuid in "123"), return_exceptions=True
        )
        assert [type(answer) for answer in answers] == [StorageUnavailable] * 3
        await inbox.stop()
        await database.close()


async def test_the_inbox_recovers_from_a_lost_connection(
    postgres_database: Database, clock: FakeClock
) -> None:
    inbox = Inbox(postgres_database, clock)
    inbox.start()
    await inbox.accept(a_delivery("1"))
    async with postgres_database.read() as db:
        await db.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )
    accepted = ["1"]
    for uuid in ("2", "3", "4"):
        try:
            await inbox.accept(a_delivery(uuid))
        except StorageUnavailable:
            continue
        accepted.append(uuid)
    await inbox.stop()
    assert accepted[-1] == "4"
    assert await stored(postgres_database) == accepted


async def test_a_delivery_waits_for_another_writer_of_the_sqlite_file(
    sqlite_url: str, clock: FakeClock
) -> None:
    database = Database(sqlite_url)
    inbox = Inbox(database, clock)
    inbox.start()
    async with database.write() as db:
        await db.execute(select(func.count()).select_from(deliveries))
        waiting = asyncio.create_task(inbox.accept(a_delivery("1")))
        await asyncio.sleep(0.05)
        assert not waiting.done()
    await waiting
    assert await stored(database) == ["1"]
    await inbox.stop()
    await database.close()


async def test_the_folder_is_woken_after_the_commit(database: Database, inbox: Inbox) -> None:
    wakeups = Wakeups()
    database.waker = wakeups.wake
    with wakeups.listen(INBOX) as woken:
        await inbox.accept(a_delivery("1"))
        assert woken.is_set()


async def test_an_inbox_is_busy_while_a_request_waits(inbox: Inbox) -> None:
    waiting = asyncio.create_task(inbox.accept(a_delivery("1")))
    await asyncio.sleep(0)
    assert inbox.is_busy
    await waiting
    await asyncio.sleep(0)
    assert not inbox.is_busy
    assert inbox.accepted == 1


async def refuse(database: Database, uuid: str) -> None:
    """Make the database refuse a row because of its data."""
    async with database.write() as db:
        if database.is_sqlite:
            await db.execute(
                text(
                    "CREATE TRIGGER refuse BEFORE INSERT ON deliveries WHEN NEW.uuid LIKE"
                    f" '{uuid}' BEGIN SELECT RAISE(ABORT, 'refused'); END"
                )
            )
        else:
            await db.execute(text(f"ALTER TABLE deliveries ADD CHECK (uuid NOT LIKE '{uuid}')"))


@pytest.mark.parametrize("bad", [{0}, {9}, {3, 4, 17}, set(range(20))])
async def test_a_delivery_that_the_database_refuses_is_stored_by_its_bytes_and_affects_no_other(
    database: Database, inbox: Inbox, bad: set[int]
) -> None:
    await refuse(database, "bad%")
    names = [f"bad-{number}" if number in bad else f"good-{number}" for number in range(20)]
    await asyncio.gather(*(inbox.accept(a_delivery(name, raw=name.encode())) for name in names))
    async with database.read() as db:
        rows = (await db.execute(select(deliveries))).all()
    assert {row.raw.decode() for row in rows} == set(names)
    for row in rows:
        if row.raw.startswith(b"good"):
            assert (row.account_id, row.uuid) == (ACCOUNT, row.raw.decode())
        else:
            assert (row.account_id, row.telephony_session_id) == (UNBOUND_ACCOUNT, None)
            assert row.uuid.startswith("content-raw-")


async def test_a_delivery_that_the_database_refuses_in_any_form_is_refused_alone(
    database: Database, inbox: Inbox
) -> None:
    await refuse(database, "%a%")  # the names of bare deliveries among them
    answers = await asyncio.gather(
        *(inbox.accept(a_delivery(name)) for name in ("one", "bad", "two")), return_exceptions=True
    )
    assert [type(answer) for answer in answers] == [type(None), StorageUnavailable, type(None)]
    assert await stored(database) == ["one", "two"]


async def test_a_missing_table_refuses_deliveries_and_sets_none_aside(
    database: Database, inbox: Inbox
) -> None:
    async with database.write() as db:
        await db.execute(text("ALTER TABLE deliveries RENAME TO away"))
    with pytest.raises(StorageUnavailable):
        await inbox.accept(a_delivery("1"))
    async with database.write() as db:
        await db.execute(text("ALTER TABLE away RENAME TO deliveries"))
    await inbox.accept(a_delivery("2"))
    assert await stored(database) == ["2"]
