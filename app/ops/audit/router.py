"""GET /v1/audit: who changed keys, accounts, webhook endpoints, links, erasures and holds. For `admin`."""

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Query
from sqlalchemy.ext.asyncio import AsyncConnection

from app.api.auth import Administrator
from app.api.dependencies import CurrentServices
from app.api.known_keys import Key
from app.api.problems import problem_responses
from app.api.timestamps import QueryTimestamp
from app.audit.model import AuditAction, AuditOutcome
from app.audit.store import Filters, list_entries
from app.ops.account_scope import load_scope
from app.ops.accounts.router import ACCOUNT_PATTERN, chosen_account, is_operator
from app.ops.audit.schemas import ENTRY_ID, KEY_ID, AuditEntries, show_entry

MOST_ENTRIES = 200

router = APIRouter(prefix="/v1", tags=["administration"])

AuditedAccount = Annotated[
    str | None,
    Query(
        alias="accountId",
        pattern=ACCOUNT_PATTERN,
        description="Only of this account. Default: of all accounts that the key administers.",
        examples=["908070001"],
    ),
]
ActingKey = Annotated[
    str | None,
    Query(
        alias="keyId",
        pattern="^key_[0-9a-z]{1,36}$",
        description="Only what this API key did.",
        examples=[KEY_ID],
    ),
]
Target = Annotated[
    str | None,
    Query(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$",
        description="Only what was done to this: the id of a key, an endpoint, an erasure or a call, or the "
        "name of credentials.",
        examples=[KEY_ID],
    ),
]
EntryCursor = Annotated[
    str | None,
    Query(
        pattern="^audit_[0-9a-z]{26}$",
        description="`nextCursor` of the previous page.",
        examples=[ENTRY_ID],
    ),
]


@router.get("/audit", summary="List entries of the audit", responses=problem_responses())
async def list_audit_entries(
    services: CurrentServices,
    key: Administrator,
    account_id: AuditedAccount = None,
    since: Annotated[QueryTimestamp | None, Query(description="Only from this time on.")] = None,
    until: Annotated[QueryTimestamp | None, Query(description="Only before this time.")] = None,
    action: Annotated[list[AuditAction] | None, Query(description="Only these; repeat for more.")] = None,
    outcome: Annotated[AuditOutcome | None, Query(description="Only these.")] = None,
    key_id: ActingKey = None,
    target: Target = None,
    limit: Annotated[int, Query(ge=1, le=MOST_ENTRIES, description="How many at most.")] = 50,
    cursor: EntryCursor = None,
) -> AuditEntries:
    """Who changed API keys, accounts and credentials, webhook endpoints, listening links, erasures and legal
    holds, newest first. What keys write to calls is in the feed of changes instead."""
    async with services.database.read() as db:
        filters = Filters(
            accounts=await _accounts(db, key, account_id),
            actions=[one.value for one in action or ()],
            outcome=outcome and outcome.value,
            key_id=key_id,
            target=target,
            since=since,
            until=until,
        )
        found = await list_entries(db, filters, limit + 1, cursor)
    shown = found[:limit]
    return AuditEntries(
        data=[show_entry(entry) for entry in shown],
        next_cursor=shown[-1].entry_id if len(found) > limit else None,
    )


async def _accounts(db: AsyncConnection, key: Key, account_id: str | None) -> Sequence[str] | None:
    """Return the accounts whose entries a key sees; None: all. Raises Forbidden."""
    chosen = chosen_account(key, account_id)
    if not is_operator(key):
        return [chosen]
    # `~` and what it stands for are one account.
    return None if account_id is None else await load_scope(db, account_id)
