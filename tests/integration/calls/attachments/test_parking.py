"""Attachments that are parked before their call is known, and how they join it."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Row, event, select

from app.calls import accounts, store
from app.calls.attachments import store as attachments
from app.calls.attachments.parking import bind_account, join_parked
from app.calls.attachments.store import WriteResult
from app.calls.attachments.stored import DISPOSITION, LINK, NOTE, SENTIMENT, AttachmentKind, StoredAttachment
from app.calls.attachments.subjects import open_account
from app.calls.ledger import open_ledger
from app.calls.model import Call, Stage
from app.db.engine import Database
from app.db.tables import notes, timeline
from app.errors import AmbiguousCall, NotFound, Unprocessable
from app.ids import UNBOUND_ACCOUNT, AccountId
from tests.factories_calls import ACCOUNT, call_values, raw_record, record_row, seed_call
from tests.fakes.clock import START

LATER = START + timedelta(minutes=5)
RACES = 50


def note(text: str = "Dana wants a second quote", **columns: Any) -> dict[str, Any]:
    return {
        "source": "hubspot",
        "external_id": None,
        "title": None,
        "text": text,
        "format": "plain",
        "author": {"name": "Ana Ruiz"},
    } | columns


def feeling(label: str = "positive") -> dict[str, Any]:
    return {"label": label, "score": 0.6, "confidence": None, "scope": {"type": "call"}, "original": None}


async def write_note(
    database: Database,
    name: str,
    text: str = "Dana wants a second quote",
    *,
    at: datetime = START,
    account_id: AccountId = ACCOUNT,
    **columns: Any,
) -> WriteResult:
    async with database.write() as db, open_account(db, account_id, at) as ledger:
        return await attachments.add_note(ledger, name, note(text, **columns))


async def put(
    database: Database,
    kind: AttachmentKind,
    name: str,
    slot: dict[str, Any],
    content: dict[str, Any],
    *,
    at: datetime = START,
    account_id: AccountId = ACCOUNT,
) -> WriteResult:
    async with database.write() as db, open_account(db, account_id, at) as ledger:
        return await attachments.put(ledger, kind, name, slot, content)


async def arrive(
    database: Database, *, at: datetime = LATER, account_id: AccountId = ACCOUNT, **fields: Any
) -> Call:
    """A call becomes known, with its names, as folding makes it known."""
    call = Call(**call_values(account_id, **fields))
    async with database.write() as db, open_ledger(db, account_id, at) as ledger:
        ledger.open(call, "call.started")
        ledger.name(call, [call.session_id])
        names = {name: call for name in (call.telephony_session_id, call.session_id) if name}
        await join_parked(ledger, names)
    return call


async def rows_of(database: Database, kind: AttachmentKind) -> Sequence[Row[Any]]:
    async with database.read() as db:
        return (await db.execute(select(kind.table).order_by(kind.table.c.created_at))).all()


async def events_of(database: Database, call: Call) -> list[tuple[int, str]]:
    async with database.read() as db:
        query = select(timeline).where(timeline.c.call_id == call.call_id).order_by(timeline.c.seq)
        return [(row.version, row.type) for row in await db.execute(query)]


async def test_parked_attachments_join_once_with_an_event_each(database: Database) -> None:
    first = await write_note(database, "1229016182016", "by sessionId")
    await write_note(database, "s-early", "by telephonySessionId")
    await put(database, SENTIMENT, "1229016182016", {"source": "ringsense", "made_by": "machine"}, feeling())
    await put(database, DISPOSITION, "s-early", {}, {"code": "callback", "label": None, "author": None})
    await put(database, LINK, "s-early", {"crm": "hubspot"}, {"objects": [{"type": "contact", "id": "501"}]})
    await write_note(database, "1229016182999", "another call's")
    assert first.attachment.parked

    call = await arrive(database, telephony_session_id="s-early", session_id="1229016182016")

    assert {(row.text, row.subject, row.parked) for row in await rows_of(database, NOTE)} == {
        ("by sessionId", call.call_id, False),
        ("by telephonySessionId", call.call_id, False),
        ("another call's", "1229016182999", True),
    }
    for kind in (SENTIMENT, DISPOSITION, LINK):
        assert [(row.subject, row.parked) for row in await rows_of(database, kind)] == [(call.call_id, False)]
    told = await events_of(database, call)
    assert [version for version, _ in told] == [1, 2, 3, 4, 5, 6]
    assert sorted(kind for _, kind in told) == sorted(
        [
            "call.started",
            "note.joined",
            "note.joined",
            "sentiment.joined",
            "disposition.joined",
            "link.joined",
        ]
    )
    async with database.write() as db, open_ledger(db, ACCOUNT, LATER) as ledger:
        assert await join_parked(ledger, {"s-early": call, "1229016182016": call}) == 0


async def test_joining_takes_one_query_if_nothing_is_parked(database: Database) -> None:
    call = await seed_call(database)
    asked: list[str] = []

    def listen(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        asked.append(statement)

    async with database.write() as db, open_ledger(db, ACCOUNT, LATER) as ledger:
        event.listen(database.engine.sync_engine, "before_cursor_execute", listen)
        assert await join_parked(ledger, {f"s-{number}": call for number in range(900)}) == 0
        event.remove(database.engine.sync_engine, "before_cursor_execute", listen)
    assert len(asked) == 1


async def test_a_batch_larger_than_one_query_joins_everything(database: Database) -> None:
    await write_note(database, "s-0", "the first")
    await write_note(database, "s-2499", "the last")
    call = await seed_call(database)
    async with database.write() as db, open_ledger(db, ACCOUNT, LATER) as ledger:
        assert await join_parked(ledger, {f"s-{number}": call for number in range(2500)}) == 2


async def test_zero_never_joins_a_conference_to_a_note(database: Database) -> None:
    with pytest.raises(Unprocessable, match="telephonySessionId"):
        await write_note(database, "0")
    call = await arrive(database, session_id="0")
    async with database.write() as db, open_ledger(db, ACCOUNT, LATER) as ledger:
        assert await join_parked(ledger, {"0": call, "": call}) == 0


async def test_an_impossible_name_of_a_call_is_refused(database: Database) -> None:
    for name in ("", "0", " ", " 12", "a\0b", "x" * 129, "a\nb", "sessionId:1229016182016", "\ud800"):
        with pytest.raises(Unprocessable):
            await write_note(database, name)
        async with database.read() as db:
            with pytest.raises(Unprocessable):
                await attachments.find_all(db, ACCOUNT, NOTE, name)


async def test_an_unknown_id_of_ours_is_not_parked(database: Database) -> None:
    with pytest.raises(NotFound):
        await write_note(database, "call_01kaaaaaaaaaaaaaaaaaaaaaaa")


async def test_an_ambiguous_name_accepts_no_note_and_returns_the_candidates(database: Database) -> None:
    one = await arrive(database, session_id="1229016182016")
    two = await arrive(database, session_id="1229016182016")
    with pytest.raises(AmbiguousCall) as refused:
        await write_note(database, "1229016182016")
    assert refused.value.extra["candidates"] == sorted([one.call_id, two.call_id])
    assert (await write_note(database, one.telephony_session_id)).attachment.subject == one.call_id


async def test_the_first_of_two_calls_with_one_name_gets_what_was_parked(database: Database) -> None:
    written = await write_note(database, "1229016182016")
    first = await arrive(database, session_id="1229016182016")
    await arrive(database, session_id="1229016182016")
    assert [row.subject for row in await rows_of(database, NOTE)] == [first.call_id]
    async with database.read() as db:
        found = await attachments.load_note(
            db, ACCOUNT, "1229016182016", written.attachment.columns["note_id"]
        )
    assert found.subject == first.call_id


async def test_the_newest_sentiment_of_a_source_wins_when_two_names_turn_out_to_be_one_call(
    database: Database,
) -> None:
    slot = {"source": "ringsense", "made_by": "machine"}
    await put(database, SENTIMENT, "1229016182016", slot, feeling("negative"), at=START)
    await put(database, SENTIMENT, "s-early", slot, feeling("positive"), at=START + timedelta(seconds=1))
    call = await arrive(database, telephony_session_id="s-early", session_id="1229016182016")
    rows = await rows_of(database, SENTIMENT)
    assert [(row.subject, row.label, row.parked) for row in rows] == [(call.call_id, "positive", False)]
    assert rows[0].version == 2  # above both, so that the ETag of either is stale now


@pytest.mark.parametrize(("parked_at", "kept"), [(START, "on the call"), (LATER, "parked")])
async def test_notes_with_the_same_external_id_are_one_note_after_joining(
    database: Database, parked_at: datetime, kept: str
) -> None:
    await write_note(database, "s-late-name", "parked", at=parked_at, external_id="e-1")
    call = await seed_call(database, session_id="1229016182016")
    between = START + timedelta(minutes=1)
    visible = await write_note(database, "1229016182016", "on the call", at=between, external_id="e-1")
    async with database.write() as db, open_ledger(db, ACCOUNT, LATER) as ledger:
        known = (await store.load_by_ids(db, ACCOUNT, [call.call_id]))[call.call_id]
        assert await join_parked(ledger, {"s-late-name": known}) == 1
    rows = await rows_of(database, NOTE)
    assert [(row.text, row.subject, row.version) for row in rows] == [(kept, call.call_id, 2)]
    told = [kind for _, kind in await events_of(database, call)]
    came = (
        ["note.updated"]
        if rows[0].note_id == visible.attachment.columns["note_id"]
        else ["note.deleted", "note.joined"]
    )
    assert told == ["call.bootstrapped", "note.created", *came]


async def test_notes_without_an_external_id_never_replace_each_other(database: Database) -> None:
    for text in ("one", "two", "two"):
        await write_note(database, "s-early", text)
    await arrive(database, telephony_session_id="s-early")
    assert [row.text for row in await rows_of(database, NOTE)] == ["one", "two", "two"]


async def test_binding_the_account_keeps_what_was_parked(database: Database) -> None:
    await write_note(database, "s-early", account_id=UNBOUND_ACCOUNT)
    await put(
        database,
        SENTIMENT,
        "s-early",
        {"source": "ringsense", "made_by": "machine"},
        feeling(),
        account_id=UNBOUND_ACCOUNT,
    )
    async with database.write() as db:
        assert await bind_account(db, ACCOUNT, LATER)
    call = await arrive(database, telephony_session_id="s-early")
    assert [(row.account_id, row.subject) for row in await rows_of(database, NOTE)] == [
        (ACCOUNT, call.call_id)
    ]
    assert [row.subject for row in await rows_of(database, SENTIMENT)] == [call.call_id]


async def test_binding_joins_what_was_parked_beside_an_existing_call(database: Database) -> None:
    await write_note(database, "s-early", account_id=UNBOUND_ACCOUNT)
    call = await arrive(database, telephony_session_id="s-early")
    assert [row.parked for row in await rows_of(database, NOTE)] == [True]
    async with database.write() as db:
        assert await bind_account(db, ACCOUNT, LATER)
        assert not await bind_account(db, AccountId("1"), LATER)
    assert [(row.subject, row.parked) for row in await rows_of(database, NOTE)] == [(call.call_id, False)]
    assert await events_of(database, call) == [(1, "call.started"), (2, "note.joined")]


async def test_binding_resolves_a_slot_that_both_accounts_have_filled(database: Database) -> None:
    slot = {"source": "ringsense", "made_by": "machine"}
    await put(database, SENTIMENT, "s-early", slot, feeling("negative"), account_id=UNBOUND_ACCOUNT)
    await put(database, SENTIMENT, "s-early", slot, feeling("positive"), at=LATER)
    await write_note(database, "s-early", "newer", account_id=UNBOUND_ACCOUNT, external_id="e-1", at=LATER)
    await write_note(database, "s-early", "older", external_id="e-1")
    async with database.write() as db:
        assert await bind_account(db, ACCOUNT, LATER)
    assert [(row.account_id, row.label) for row in await rows_of(database, SENTIMENT)] == [
        (ACCOUNT, "positive")
    ]
    assert [(row.account_id, row.text) for row in await rows_of(database, NOTE)] == [(ACCOUNT, "newer")]


async def test_a_write_that_waited_for_the_binding_goes_to_the_bound_account(
    postgres_database: Database,
) -> None:
    database = postgres_database
    async with database.write() as db:
        await accounts.open_unbound(db, START)
    async with database.write() as db:
        assert await bind_account(db, ACCOUNT, START)
        # It finds `~` unbound, then waits for the lock that this transaction holds.
        writing = asyncio.create_task(write_note(database, "s-early", account_id=UNBOUND_ACCOUNT))
        await _until_somebody_waits(database)
    written = await writing
    assert written.attachment.columns["account_id"] == ACCOUNT


async def _until_somebody_waits(database: Database) -> None:
    async with database.read() as db:
        for _ in range(500):
            waiting = await db.exec_driver_sql("SELECT count(*) FROM pg_locks WHERE NOT granted")
            if waiting.scalar_one():
                return
            await asyncio.sleep(0.01)
    raise AssertionError("nobody waits for a lock")


async def test_a_note_never_stays_parked_when_it_races_with_its_call(
    postgres_database: Database,
) -> None:
    database = postgres_database
    for number in range(RACES):
        telephony_session_id, session_id = f"s-{number}", str(1229016182016 + number)
        name = session_id if number % 2 else telephony_session_id
        await asyncio.gather(
            write_note(database, name),
            arrive(database, telephony_session_id=telephony_session_id, session_id=session_id),
            write_note(database, name, "another"),
        )
    rows = await rows_of(database, NOTE)
    assert len(rows) == 2 * RACES
    assert not [row.subject for row in rows if row.parked]
    async with database.read() as db:
        told = (await db.execute(select(timeline).order_by(timeline.c.seq))).all()
    assert [row.seq for row in told] == list(range(1, 3 * RACES + 1))
    versions = defaultdict(list)
    for row in told:
        versions[row.call_id].append(row.version)
    assert list(versions.values()) == [[1, 2, 3]] * RACES


async def test_a_reader_finds_a_note_while_it_joins(postgres_database: Database) -> None:
    database = postgres_database
    for number in range(10):
        name = f"s-{number}"
        await write_note(database, name)
        found, _ = await asyncio.gather(_read(database, name), arrive(database, telephony_session_id=name))
        assert len(found) == 1


async def _read(database: Database, name: str) -> list[StoredAttachment]:
    async with database.read() as db:
        return await attachments.find_all(db, ACCOUNT, NOTE, name)


async def test_attachments_survive_every_update_from_records(database: Database) -> None:
    call = await seed_call(database)
    await write_note(database, call.telephony_session_id, "entered by Ana")
    await put(
        database, SENTIMENT, call.call_id, {"source": "agent", "made_by": "person"}, feeling("negative")
    )
    async with database.write() as db, open_ledger(db, ACCOUNT, LATER) as ledger:
        known = (await store.load_by_ids(db, ACCOUNT, [call.call_id]))[call.call_id]
        await store.save_records(db, [record_row(known, raw_record(result="Missed"))])
        known.result, known.outcome = "Missed", "missed"
        ledger.move(known, Stage.FINAL, "call.final")
    assert [row.text for row in await rows_of(database, NOTE)] == ["entered by Ana"]
    assert [(row.source, row.label) for row in await rows_of(database, SENTIMENT)] == [("agent", "negative")]
    assert await events_of(database, call) == [
        (1, "call.bootstrapped"),
        (2, "note.created"),
        (3, "sentiment.set"),
        (4, "call.final"),
    ]


async def test_parked_notes_of_another_account_stay_where_they_are(database: Database) -> None:
    await write_note(database, "s-early", account_id=AccountId("111"))
    await arrive(database, telephony_session_id="s-early")
    async with database.read() as db:
        assert (await db.execute(select(notes.c.account_id, notes.c.parked))).all() == [("111", True)]
