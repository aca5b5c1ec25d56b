"""Where each field of a call comes from. Derived again when it is asked for: nothing of it is stored."""

from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from app.calls import store
from app.calls.company import load_company
from app.calls.derivation.derive import derive_call
from app.calls.derivation.fields import state_all
from app.calls.evidence.parties import read_stored
from app.calls.model import Call, Stage
from app.calls.stored_records import read_versions
from app.ids import AccountId
from app.values.times import time_text

Json = dict[str, Any]


async def load_provenance(db: AsyncConnection, account_id: AccountId, call_id: str) -> Json:
    """Return the source of each known field by its name in the API.

    `mayChange` is False once the call is final: nothing of it is read any more. A late event can still change
    a final call.
    """
    call = await store.load_call(db, account_id, call_id)
    rows = [] if call.stage == Stage.LIVE else (await store.load_records(db, account_id, [call_id]))[call_id]
    company = await load_company(db, account_id)
    statements = state_all(read_stored(call.facts), list(read_versions(call, rows)))
    return {
        field: {
            "source": statement.witness.value,
            "recordId": statement.key if statement.is_record else None,
            "extensionId": statement.told_by,
            "at": time_text(statement.told_at),
            "mayChange": _may_change(call),
        }
        for field, statement in sorted(derive_call(statements, company).sources.items())
    }


def _may_change(call: Call) -> bool:
    return call.stage not in (Stage.FINAL, Stage.ABSENT)
