"""Finds out which account credentials belong to and what they can access, by asking RingCentral."""

from dataclasses import replace
from datetime import datetime, timedelta

import structlog

from app.accounts.access import COMPANY_PERMISSION, Access, Level, probe_again_at
from app.accounts.connections import Connections
from app.accounts.remedies import describe
from app.calls import accounts
from app.calls.attachments.parking import bind_account
from app.clock import Clock
from app.db.engine import Database
from app.errors import PermissionMissing, RateLimited, RingCentralError
from app.ids import UNBOUND_ACCOUNT, AccountId, ExtensionId
from app.ringcentral.client import RingCentralClient
from app.ringcentral.ports import Priority
from app.ringcentral.stored_tokens import StoredToken
from app.work.failures import log_failure

_SLOT_SECONDS = 20.0
"""Longest wait for a slot: a person is waiting for the result."""

TRY_AGAIN = timedelta(minutes=5)

log = structlog.get_logger(__name__)


def slot_deadline(clock: Clock) -> datetime:
    return clock.now() + timedelta(seconds=_SLOT_SECONDS)


async def discover(client: RingCentralClient, token: StoredToken, clock: Clock) -> tuple[AccountId, Access]:
    """Return account and access of credentials. Takes one request as a rule, three at most.

    Raises PermissionMissing, naming the most important permission, if not even the account can be read.
    """
    now = clock.now()
    owner = ExtensionId(token.owner_id) if token.owner_id else None
    access = Access(owner_id=owner, scopes=token.scopes, fingerprint=token.fingerprint)
    account_id: AccountId | None = None
    refusal: PermissionMissing | None = None
    # A list of calls names the account and shows whether calls can be read, so it comes first.
    try:
        account_id = await _account_by_calls(client, None, clock)
    except PermissionMissing as error:
        refusal = error
    except RateLimited:
        log.info("the account is read without its calls: the rate limit is used up")
    if refusal is not None and refusal.code == COMPANY_PERMISSION and owner is not None:
        access = replace(access, level=Level.EXTENSION, extension_id=owner, probe_at=probe_again_at(now))
        try:
            account_id, refusal = await _account_by_calls(client, owner, clock), None
        except PermissionMissing as error:
            refusal = error
    if refusal is not None:
        problem = {**(describe(refusal) or {}), "since": now.isoformat()}
        access = replace(access, problem=problem, probe_at=now + TRY_AGAIN)
    return account_id or await _account_by_itself(client, refusal, clock), access


async def learn_own(connections: Connections, database: Database, clock: Clock) -> float | None:
    """Find the account of the environment's credentials, unless it is known; a loop's step.

    The first event would name it as well, but calls may be requested before there is one.
    """
    own = await connections.own()
    async with database.read() as db:
        known = await accounts.resolve(db, UNBOUND_ACCOUNT)
    if own is None or known != UNBOUND_ACCOUNT or own.access.problem is not None:
        return None
    try:
        account_id, _ = await discover(own.client, await own.client.fetch_token(), clock)
    except RingCentralError as error:
        log_failure(log, "the service's own account is not known yet", error)
        await connections.note(own, error)
        return TRY_AGAIN.total_seconds()
    async with database.write() as db:
        await bind_account(db, account_id, clock.now())
    log.info("the service's own account is known", account_id=account_id)
    return None


async def _account_by_calls(
    client: RingCentralClient, extension_id: ExtensionId | None, clock: Clock
) -> AccountId | None:
    page = await client.fetch_active_calls_page(
        1, 1, extension_id=extension_id, priority=Priority.POLL, deadline=slot_deadline(clock)
    )
    return page.account_id


async def _account_by_itself(
    client: RingCentralClient, refusal: PermissionMissing | None, clock: Clock
) -> AccountId:
    try:
        account_id = await client.fetch_account_id(deadline=slot_deadline(clock))
    except PermissionMissing as error:
        raise refusal or error from error
    if account_id is None:
        raise RingCentralError("RingCentral did not say which account this is")
    return account_id
