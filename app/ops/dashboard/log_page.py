"""GET /dashboard/log: the newest entries of the audit, and the last requests of a key. For operators.

A page without a script, drawn once: people look something up here, they do not watch it.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, TypedDict

from fastapi import APIRouter, Query, Request
from fastapi.responses import RedirectResponse, Response
from sqlalchemy import Row, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.api.usage.recent import KeyRequest, last_requests
from app.audit.model import AuditOutcome, Entry
from app.audit.store import Filters, list_entries
from app.db.tables import api_keys
from app.errors import StorageUnavailable
from app.ids import UNBOUND_ACCOUNT
from app.ops.dashboard.router import PATH, CurrentDashboard
from app.ops.dashboard.wording import format_count

MOST_ENTRIES = 100
_MOST_KEYS = 200
_NOT_ALLOWED = "This page needs an admin key of the service's own account."
_TONES = {AuditOutcome.DONE: "", AuditOutcome.UNCHANGED: "", AuditOutcome.REFUSED: "bad"}

router = APIRouter(prefix=f"{PATH}/log", include_in_schema=False)


class EntryRow(TypedDict):
    """An entry of the audit in plain values."""

    at: str
    action: str
    target: str
    who: str
    account: str
    outcome: str
    tone: str
    request: str


class RequestRow(TypedDict):
    """A request of a key in plain values."""

    at: str
    request: str
    status: str
    tone: str
    milliseconds: str
    id: str


class KeyRow(TypedDict):
    """A key to choose."""

    id: str
    name: str
    account: str
    note: str


def describe_entry(entry: Entry) -> EntryRow:
    """Describe an entry of the audit."""
    return {
        "at": _moment(entry.at),
        "action": entry.action,
        "target": entry.target or "",
        "who": entry.key_id or entry.actor,
        "account": entry.account_id,
        "outcome": entry.outcome,
        "tone": _TONES[AuditOutcome(entry.outcome)],
        "request": entry.request_id or "",
    }


def describe_request(request: KeyRequest) -> RequestRow:
    """Describe a request of a key."""
    status = request.status
    return {
        "at": _moment(request.at),
        "request": f"{request.method} {request.route or 'unknown path'}",
        "status": "disconnected" if status is None else str(status),
        "tone": "" if status is None or status < 400 else "waiting" if status < 500 else "bad",
        "milliseconds": f"{format_count(request.milliseconds)} ms",
        "id": request.request_id,
    }


def describe_key(row: Row[Any]) -> KeyRow:
    """Describe a key, without what it may do."""
    note = "" if row.revoked_at is None else "revoked"
    return {"id": row.key_id, "name": row.name, "account": row.account_id, "note": note}


def _moment(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S}"


@router.get("")
async def show_log(
    request: Request,
    dashboard: CurrentDashboard,
    key: Annotated[str | None, Query(pattern="^key_[0-9a-z]{1,36}$")] = None,
    account: Annotated[str, Query(pattern=r"^(~|[0-9]{1,32})$")] = UNBOUND_ACCOUNT,
) -> Response:
    """Return the page; `key` and `account` choose whose requests it shows."""
    services = dashboard.services
    try:
        viewer = await dashboard.sign_in.find_viewer(request)
        if viewer is None:
            return RedirectResponse(f"{PATH}/sign-in", 303, headers=dashboard.headers())
        if not viewer.oversees:
            return dashboard.page("sign_in.html", 403, refused=_NOT_ALLOWED)
        async with services.database.read() as db:
            entries = await list_entries(db, Filters(), MOST_ENTRIES)
            requests = await last_requests(db, services.recent_requests, (account, key)) if key else []
            keys = [describe_key(row) for row in await _load_keys(db)]
    except StorageUnavailable:
        return dashboard.page("unavailable.html", 503)
    return dashboard.page("log.html", **_values(entries, requests, keys, (account, key)))


async def _load_keys(db: AsyncConnection) -> Sequence[Row[Any]]:
    """Return the keys of all accounts, newest first."""
    columns = [api_keys.c[name] for name in ("account_id", "key_id", "name", "revoked_at")]
    order = (api_keys.c.created_at.desc(), api_keys.c.key_id.desc())
    return (await db.execute(select(*columns).order_by(*order).limit(_MOST_KEYS))).all()


def _values(
    entries: Sequence[Entry],
    requests: Sequence[KeyRequest],
    keys: Sequence[KeyRow],
    chosen: tuple[str, str | None],
) -> Mapping[str, Any]:
    account, key_id = chosen
    names = {(one["account"], one["id"]): one["name"] for one in keys}
    return {
        "entries": [describe_entry(one) for one in entries],
        "requests": [describe_request(one) for one in requests],
        "keys": keys,
        "key": key_id,
        "key_name": names.get((account, key_id or ""), key_id or ""),
    }
