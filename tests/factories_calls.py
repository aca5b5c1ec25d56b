"""Calls and what hangs on them, written the way the service writes them. The fictional world: account
908070001, Ana Ruiz (extension 101), Ben Cho (102), the queue "Sales", the customer Dana Field.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from itertools import count
from typing import Any

from sqlalchemy import insert

from app.calls import store
from app.calls.ledger import open_ledger
from app.calls.model import Call, Outcome, Source, Stage
from app.db.engine import Database
from app.db.tables import crm_links, dispositions, notes, sentiments
from app.ids import AccountId, CallId, new_id
from tests.fakes.clock import START

ACCOUNT = AccountId("908070001")
ANA = "711000101"
BEN = "711000102"
CUSTOMER = "+15550179001"

_numbers = count(1)


def call_values(account_id: AccountId = ACCOUNT, **fields: Any) -> dict[str, Any]:
    """Valid fields of an ended, bootstrapped inbound call; each can be overruled."""
    number = next(_numbers)
    started_at: datetime = fields.get("started_at", START)
    values: dict[str, Any] = {
        "account_id": account_id,
        "call_id": CallId(new_id("call", started_at)),
        "telephony_session_id": f"s-a0c14f2b77d1ez1928b3f4c10z{number:010d}",
        "session_id": str(1_229_016_182_000 + number),
        "stage": Stage.BOOTSTRAPPED,
        "direction": "Inbound",
        "internal": False,
        "outcome": Outcome.ANSWERED,
        "result": "Accepted",
        "action": "Phone Call",
        "caller": {"phoneNumber": CUSTOMER, "name": "Dana Field"},
        "callee": {"phoneNumber": "+15550100101", "name": "Ana Ruiz", "extensionId": ANA},
        "external_number": CUSTOMER,
        "started_at": started_at,
        "answered_at": started_at + timedelta(seconds=3),
        "ended_at": started_at + timedelta(seconds=96),
        "duration_seconds": 96,
        "readiness": {"record": {"state": "ready", "since": started_at.isoformat()}},
        "source": Source.WEBHOOK,
        "bootstrapped_at": started_at + timedelta(seconds=101),
        "bootstrapped_by": Source.ACTIVE_CALLS,
        "created_at": started_at,
        "updated_at": started_at,
    }
    return values | fields


def raw_record(record_id: str = "QX7f14l8Nt_2aVB", **fields: Any) -> dict[str, Any]:
    """A call-log record in RingCentral's own words."""
    return {
        "id": record_id,
        "sessionId": "1229016182016",
        "telephonySessionId": "s-a0c14f2b77d1ez1928b3f4c10z5e6f70000",
        "startTime": "2026-03-10T18:07:41.000Z",
        "duration": 96,
        "type": "Voice",
        "direction": "Inbound",
        "action": "Phone Call",
        "result": "Accepted",
        "to": {"phoneNumber": "+15550100101", "name": "Ana Ruiz"},
        "from": {"phoneNumber": CUSTOMER, "name": "Dana Field"},
    } | fields


async def seed_call(
    database: Database,
    account_id: AccountId = ACCOUNT,
    *,
    records: Sequence[dict[str, Any]] = (),
    extensions: Iterable[str] = (ANA,),
    numbers: Iterable[str] | None = None,
    event: str = "call.bootstrapped",
    now: datetime | None = None,
    **fields: Any,
) -> Call:
    """Write one call through the ledger, with its names, its parties and its raw records."""
    call = Call(**call_values(account_id, **fields))
    if records and call.primary_record_id is None:
        call.primary_record_id = records[0]["id"]
    at = now or call.updated_at
    async with database.write() as db:
        async with open_ledger(db, account_id, at) as ledger:
            ledger.open(call, event)
            ledger.name(call, [call.session_id])
            external = [call.external_number] if call.external_number else []
            ledger.involve(call, extensions, external if numbers is None else numbers)
        await store.save_records(db, [record_row(call, raw) for raw in records])
    return call


def record_row(call: Call, raw: dict[str, Any], *, source: str = Source.CALL_LOG) -> dict[str, Any]:
    """A row of `call_records`."""
    return {
        "account_id": call.account_id,
        "call_id": call.call_id,
        "record_id": raw["id"],
        "source": source,
        "detailed": "legs" in raw,
        "fetched_at": call.updated_at,
        "last_modified_at": None,
        "raw": raw,
    }


async def touch(database: Database, call: Call, event: str, now: datetime, **data: Any) -> None:
    """Make one visible change to a call."""
    async with database.write() as db, open_ledger(db, call.account_id, now) as ledger:
        ledger.change(call, event, **data)


async def seed_note(database: Database, subject: str, account_id: AccountId = ACCOUNT, **fields: Any) -> str:
    """Write a note of a call (its id), or one that is parked under the name of a call to come."""
    at = fields.pop("at", START)
    row = {
        "account_id": account_id,
        "note_id": new_id("note", at),
        "subject": subject,
        "parked": not subject.startswith("call_"),
        "source": "hubspot",
        "text": "Dana wants a second quote",
        "format": "plain",
        "version": 1,
        "created_at": at,
        "updated_at": at,
    } | fields
    async with database.write() as db:
        await db.execute(insert(notes).values(row))
    return str(row["note_id"])


async def seed_sentiment(
    database: Database, subject: str, account_id: AccountId = ACCOUNT, **fields: Any
) -> None:
    at = fields.pop("at", START)
    row = {
        "account_id": account_id,
        "subject": subject,
        "source": "acme-ai",
        "parked": False,
        "label": "negative",
        "score": -0.6,
        "confidence": 0.9,
        "scope": {"kind": "call"},
        "version": 1,
        "created_at": at,
        "updated_at": at,
    } | fields
    async with database.write() as db:
        await db.execute(insert(sentiments).values(row))


async def seed_disposition(
    database: Database, subject: str, account_id: AccountId = ACCOUNT, **fields: Any
) -> None:
    at = fields.pop("at", START)
    row = {
        "account_id": account_id,
        "subject": subject,
        "parked": False,
        "code": "interested",
        "label": "Interested",
        "version": 1,
        "created_at": at,
        "updated_at": at,
    } | fields
    async with database.write() as db:
        await db.execute(insert(dispositions).values(row))


async def seed_link(database: Database, subject: str, account_id: AccountId = ACCOUNT, **fields: Any) -> None:
    at = fields.pop("at", START)
    row = {
        "account_id": account_id,
        "subject": subject,
        "crm": "hubspot",
        "parked": False,
        "objects": [{"type": "call", "id": "3901"}],
        "version": 1,
        "created_at": at,
        "updated_at": at,
    } | fields
    async with database.write() as db:
        await db.execute(insert(crm_links).values(row))
