"""After an erasure the number is nowhere: in no column of any table, in any spelling, and in no file."""

import pytest
from sqlalchemy import insert

from app.db.engine import Database
from app.db.tables import metadata, recordings, voicemails
from app.erasure.mentions import WITHOUT_PEOPLE
from app.erasure.model import SubjectKind
from tests.factories_calls import ACCOUNT, ANA, raw_record, seed_call, seed_note
from tests.fakes.clock import START
from tests.integration.erasure.conftest import Office
from tests.integration.erasure.marking import NUMBER, SPELLINGS, Marker, fill, find_marked

OTHER = "+15550170000"
_CANNOT_HOLD_ONE = {"removed_calls"}
"""Tables that have neither texts nor JSON beside keys of ours."""


async def seed_person(database: Database, office: Office) -> list[str]:
    """Write a person's calls, as the service does, with audio in the archive; return the calls' ids."""
    ids: list[str] = []
    for number in range(3):
        call = await seed_call(
            database,
            records=[raw_record(f"R{number}"), raw_record(f"Q{number}")],
            numbers=[NUMBER],
            caller={"phoneNumber": NUMBER},
        )
        await seed_note(database, call.call_id, text=f"Reach her at {SPELLINGS[number]}")
        await archive_audio(office, call.call_id, f"30{number}")
        ids.append(call.call_id)
    return ids


async def archive_audio(office: Office, call_id: str, media_id: str) -> None:
    """Store a recording and a voicemail of a call, and their files."""
    office.spool.mkdir(exist_ok=True)
    transcript = {"extension_id": ANA, "transcript": f"It is {NUMBER}"}
    for name, table, extra in (
        ("recording_id", recordings, {}),
        ("voicemail_id", voicemails, transcript),
    ):
        path = f"{ACCOUNT}/2026/03/{name[:3]}-{media_id}.mp3"
        (office.spool / "source").write_bytes(f"I am {NUMBER}".encode())
        await office.archive.save(path, office.spool / "source")
        row = {
            "account_id": ACCOUNT, "call_id": call_id, name: media_id, "state": "ready", "archive_path": path,
            "archive_bytes": 10, "created_at": START, "updated_at": START, **extra,
        }  # fmt: skip
        async with office.database.write() as db:
            await db.execute(insert(table).values(row))
    (office.spool / "source").unlink()


@pytest.mark.parametrize("seed", range(3))
async def test_the_number_is_nowhere_afterwards(database: Database, office: Office, seed: int) -> None:
    mine = await seed_person(database, office)
    other, held = [
        await seed_call(database, external_number=OTHER, caller={"phoneNumber": OTHER}) for _ in range(2)
    ]
    marker = Marker(seed, other.call_id, held.call_id)
    for table in metadata.sorted_tables:
        if table.name not in WITHOUT_PEOPLE | _CANNOT_HOLD_ONE:
            await fill(database, marker, table)
    marked = await find_marked(database)
    assert set(metadata.tables) - set(marked) == WITHOUT_PEOPLE | (_CANNOT_HOLD_ONE & set(metadata.tables))
    done = await office.erase(SubjectKind.PHONE_NUMBER, NUMBER)
    assert done.status == "done"
    assert await find_marked(database) == {}
    assert [path for path in office.root.rglob("*") if path.is_file()] == []
    assert done.subject is None
    assert done.erased["calls"] >= len(mine)
    assert done.erased["archivedFiles"] == 6
