"""What an erasure takes with it and what it leaves: other calls, texts, shared audio, the directory."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import insert, select

from app.api.answers import Answers
from app.calls import store as calls_store
from app.calls.ledger import open_ledger
from app.calls.related.links import Link
from app.calls.related.store import link_calls
from app.db.engine import Database, wake
from app.db.tables import (
    calls,
    directories,
    dispositions,
    extensions,
    idempotency_keys,
    metadata,
    notes,
    rc_cache,
    recordings,
)
from app.erasure import store
from app.erasure.forgetting import forget_erased
from app.erasure.mentions import WITHOUT_PEOPLE
from app.erasure.model import SubjectKind
from app.erasure.subjects import hash_of, is_of, read_erased_subject
from app.errors import Conflict, NotFound, Unprocessable
from app.values.phone_numbers import _read, read_phone_number
from app.vault import Vault
from app.work.wakeups import ERASURES, Wakeups
from tests.factories_calls import ACCOUNT, ANA, BEN, CUSTOMER, seed_call, seed_disposition, seed_note
from tests.fakes.clock import START, FakeClock
from tests.integration.erasure.conftest import ORDER, Office
from tests.integration.erasure.marking import NUMBER, Marker, fill, find_marked
from tests.integration.erasure.test_everywhere import OTHER, archive_audio

OF_CALLS = {"calls", "call_parties", "call_records"}


async def stranger(database: Database, **fields: Any) -> Any:
    """Write a call in which the erased person has no part."""
    sides = {"external_number": OTHER, "caller": {"phoneNumber": OTHER}, "extensions": [BEN]}
    return await seed_call(database, **(sides | fields))


async def test_texts_of_other_calls_stay_without_the_number(database: Database, office: Office) -> None:
    other, held = await stranger(database), await stranger(database)
    marker = Marker(7, other.call_id, held.call_id)
    for table in metadata.sorted_tables:
        if table.name not in WITHOUT_PEOPLE | OF_CALLS:
            await fill(database, marker, table)
    done = await office.erase(SubjectKind.PHONE_NUMBER, NUMBER)
    assert await find_marked(database) == {}
    assert "calls" not in done.erased
    async with database.read() as db:
        (note, *_) = (await db.execute(select(notes).where(notes.c.subject == other.call_id))).all()
        assert "[erased]" in note.text
        changed = (await calls_store.load_by_ids(db, ACCOUNT, [other.call_id]))[other.call_id]
    assert changed.version > other.version, "its followers read the note again"


@pytest.mark.parametrize("text", ["id 915550179001", "s-5550179001234", "+4915550179001", "5550179002"])
async def test_longer_numbers_and_ids_are_left_alone(database: Database, office: Office, text: str) -> None:
    other = await stranger(database)
    await seed_note(database, other.call_id, text=text)
    await office.erase(SubjectKind.PHONE_NUMBER, NUMBER)
    async with database.read() as db:
        assert list(await db.scalars(select(notes.c.text))) == [text]


async def test_a_related_call_no_longer_leads_to_it(database: Database, office: Office) -> None:
    first, second = await seed_call(database), await stranger(database)
    async with database.write() as db, open_ledger(db, ACCOUNT, START) as ledger:
        both = await calls_store.load_by_ids(db, ACCOUNT, [first.call_id, second.call_id])
        link = Link(first.telephony_session_id, second.telephony_session_id, "conference")
        back = Link(second.telephony_session_id, first.telephony_session_id, "conference")
        named = {first.call_id: [link], second.call_id: [back]}
        await link_calls(ledger, named, both, {})
    await office.erase(SubjectKind.CALL, first.call_id)
    async with database.read() as db:
        left = (await calls_store.load_by_ids(db, ACCOUNT, [second.call_id]))[second.call_id]
    (related,) = left.related
    assert (related["callId"], related["telephonySessionId"]) == (None, first.telephony_session_id)
    assert left.main_call_id is None, "it is the main call of what is left"


async def test_audio_that_another_call_names_as_well_stays_with_that_call(
    database: Database, office: Office
) -> None:
    first, second = await seed_call(database), await stranger(database)
    await archive_audio(office, first.call_id, "77")
    async with database.write() as db:
        row = (await db.execute(select(recordings))).mappings().one()
        await db.execute(insert(recordings).values({**row, "call_id": second.call_id}))
    await office.erase(SubjectKind.CALL, first.call_id)
    assert [path.name for path in office.root.rglob("*") if path.is_file()] == ["rec-77.mp3"]
    await office.erase(SubjectKind.CALL, second.call_id)
    assert [path.name for path in office.root.rglob("*") if path.is_file()] == []


async def test_what_a_crash_left_beside_an_archived_file_is_deleted(
    database: Database, office: Office
) -> None:
    call = await seed_call(database)
    await archive_audio(office, call.call_id, "78")
    (folder,) = {path.parent for path in office.root.rglob("rec-78.mp3")}
    (folder / ".saving-rec-78.mp3-x1y2").write_bytes(b"half of it")
    (office.spool / f"{ACCOUNT}-78.part").write_bytes(b"a part of it")
    await office.erase(SubjectKind.CALL, call.call_id)
    assert [path for path in office.root.rglob("*") if path.is_file()] == []
    assert list(office.spool.iterdir()) == []


async def test_a_file_that_is_being_saved_is_deleted_after_the_lease_of_its_copy(
    database: Database, office: Office
) -> None:
    call = await seed_call(database)
    async with database.write() as db:
        row = {
            "account_id": ACCOUNT, "recording_id": "79", "call_id": call.call_id, "state": "ready",
            "content_type": "audio/mpeg", "due_at": START + timedelta(seconds=60), "created_at": START,
            "updated_at": START,
        }  # fmt: skip
        await db.execute(insert(recordings).values(row))
    planned = await office.plan(SubjectKind.CALL, call.call_id)
    await office.begin(planned)
    assert await office.eraser.step() is not None
    assert (await office.load(planned)).status == "running"
    saved = office.root / ACCOUNT / "2026" / "03" / "79.mp3"
    saved.parent.mkdir(parents=True)
    saved.write_bytes(b"saved last")
    assert (await office.carry_out(planned)).erased["archivedFiles"] == 1
    assert not saved.exists()


async def test_an_extension_goes_with_its_calls_and_its_place_in_the_directory(
    database: Database, office: Office
) -> None:
    async with database.write() as db:
        columns = {"account_id": ACCOUNT, "phone_numbers": [], "updated_at": START}
        await db.execute(insert(extensions).values(**columns, extension_id=ANA, name="Ana Ruiz"))
        await db.execute(insert(extensions).values(**columns, extension_id=BEN, name="Ben Cho"))
        await db.execute(insert(directories).values(account_id=ACCOUNT, version="dir_1", etags=["a"]))
        now = START + timedelta(minutes=5)
        await db.execute(insert(rc_cache).values(account_id=ACCOUNT, key="k", body=b"x", expires_at=now))
    mine, other = await seed_call(database, extensions=[ANA]), await stranger(database)
    author = {"id": ANA, "name": "Ana Ruiz"}
    await seed_note(database, other.call_id, text="Offer sent", author=author)
    await seed_disposition(database, other.call_id, author=author)
    done = await office.erase(SubjectKind.EXTENSION, ANA)
    assert (done.erased["calls"], done.erased["extensions"], done.erased["mentions"]) == (1, 1, 2)
    async with database.read() as db:
        assert list(await db.scalars(select(calls.c.call_id))) == [other.call_id] != [mine.call_id]
        assert list(await db.scalars(select(extensions.c.extension_id))) == [BEN]
        (directory,) = (await db.execute(select(directories))).all()
        assert (directory.etags, directory.version != "dir_1") == (None, True)
        assert list(await db.scalars(select(notes.c.author))) == [None]
        assert list(await db.scalars(select(dispositions.c.author))) == [None]
        assert list(await db.scalars(select(rc_cache.c.key))) == []


async def test_responses_to_repeated_requests_are_erased(database: Database, office: Office) -> None:
    call, other = await seed_call(database), await stranger(database)
    async with database.write() as db:
        for key, one in (("mine", call), ("other", other)):
            body = {"id": f"note_{key}", "callId": one.call_id, "sessionRef": None, "text": "Offer"}
            await db.execute(
                insert(idempotency_keys).values(
                    account_id=ACCOUNT, key_id="k", key=key, request_digest="d", status=201, headers={},
                    body=body, created_at=START,
                )
            )  # fmt: skip
    await office.erase(SubjectKind.CALL, call.session_id or "")
    async with database.read() as db:
        assert list(await db.scalars(select(idempotency_keys.c.key))) == ["other"]


@pytest.mark.parametrize("written", ["12345", "anonymous", "102", "", "+1555017****"])
async def test_what_is_no_complete_number_is_refused(office: Office, written: str) -> None:
    with pytest.raises(Unprocessable):
        await office.plan(SubjectKind.PHONE_NUMBER, written)


async def test_the_companys_main_number_is_refused(database: Database, office: Office) -> None:
    async with database.write() as db:
        row = {"account_id": ACCOUNT, "version": "dir_1", "main_number": "(555) 010-0100"}
        await db.execute(insert(directories).values(row))
    with pytest.raises(Unprocessable, match="main number"):
        await office.plan(SubjectKind.PHONE_NUMBER, "+15550100100")


async def test_an_unknown_call_is_refused(office: Office) -> None:
    with pytest.raises(NotFound):
        await office.plan(SubjectKind.CALL, "s-unknown")


async def test_a_plan_erases_nothing_and_expires(
    database: Database, office: Office, clock: FakeClock
) -> None:
    call = await seed_call(database)
    planned = await office.plan(SubjectKind.PHONE_NUMBER, CUSTOMER)
    assert planned.planned["calls"] == planned.planned["timeline"] == 1
    assert CUSTOMER not in repr(planned)
    clock.advance(timedelta(hours=25).total_seconds())
    with pytest.raises(Conflict):
        await office.begin(planned)
    await office.eraser.step()
    with pytest.raises(NotFound):
        await office.load(planned)
    async with database.read() as db:
        assert await calls_store.find_id(db, ACCOUNT, call.call_id) == call.call_id


async def test_the_hash_proves_the_subject_under_the_current_and_older_keys(
    database: Database, office: Office
) -> None:
    call = await seed_call(database)
    of_number = await office.erase(SubjectKind.PHONE_NUMBER, CUSTOMER)
    async with database.read() as db:
        same = await read_erased_subject(db, ACCOUNT, SubjectKind.PHONE_NUMBER, "(555) 017-9001")
        other = await read_erased_subject(db, ACCOUNT, SubjectKind.PHONE_NUMBER, OTHER)
    assert of_number.subject_hash == hash_of(office.vault, ACCOUNT, same)
    rotated = Vault(f"{'f' * 32},0123456789abcdef0123456789abcdef")
    assert is_of(rotated, ACCOUNT, same, of_number.subject_hash)
    assert not is_of(rotated, ACCOUNT, other, of_number.subject_hash)
    assert not is_of(Vault("f" * 32), ACCOUNT, same, of_number.subject_hash)
    again = await seed_call(database, external_number=None, caller=None)
    of_call = await office.erase(SubjectKind.CALL, again.call_id)
    async with database.read() as db:
        for name in (again.call_id, again.telephony_session_id, again.session_id or ""):
            named = await read_erased_subject(db, ACCOUNT, SubjectKind.CALL, name)
            assert is_of(office.vault, ACCOUNT, named, of_call.subject_hash)
    assert call.call_id != again.call_id


async def test_an_order_that_is_repeated_changes_nothing(database: Database, office: Office) -> None:
    await seed_call(database)
    done = await office.erase(SubjectKind.PHONE_NUMBER, CUSTOMER)
    async with database.write() as db:
        again = await store.begin_erasure(
            db, office.vault, ACCOUNT, done.erasure_id, ORDER, START, spare_held=False
        )
    assert again == done


async def test_processes_forget_what_they_remember(database: Database, office: Office) -> None:
    woken, answers = Wakeups(), Answers(office.clock)
    database.waker = woken.wake
    call = await seed_call(database)
    answers.keep(call.call_id, 1, b"Dana")
    numbers = _read.cache_info
    listening = asyncio.create_task(forget_erased(woken, answers))
    await asyncio.sleep(0)
    await office.erase(SubjectKind.CALL, call.call_id)
    read_phone_number("+1 555 017 9001")
    assert numbers().currsize > 0
    async with database.write() as db:
        wake(db, ERASURES)
    for _ in range(3):
        await asyncio.sleep(0)
    assert answers.find(call.call_id, 1) is None
    assert numbers().currsize == 0
    listening.cancel()
