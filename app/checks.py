"""What `aftercall check` looks at: settings, database, credentials, subscription; a finding each, with what to do."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import httpx

from app.clock import Clock, SystemClock
from app.db.engine import Database
from app.db.migrations import current_revision, head
from app.enrichment.clocks import describe_skew
from app.enrichment.connections import COMPANY_CODES, Connection, Connections, Level
from app.enrichment.credentials import OWN, list_stored
from app.enrichment.roster import (
    NEEDED_SCOPES,
    OTHER_APP,
    UNREADABLE,
    load_roster,
    missing_beside,
    missing_scopes,
)
from app.enrichment.silences import load_silences
from app.enrichment.troubles import describe
from app.errors import (
    CredentialsRefused,
    PermissionMissing,
    RateLimited,
    RingCentralError,
    SettingsError,
    StorageUnavailable,
)
from app.ids import UNBOUND_ACCOUNT
from app.ringcentral.client import RingCentralClient
from app.ringcentral.ports import Priority
from app.ringcentral.protocol import has_same_filters
from app.ringcentral.skew import SkewMeter
from app.settings import Settings, read_settings
from app.vault import Vault
from app.webhooks.subscription import of_extension
from app.webhooks.subscription_guard import who_keeps


@dataclass(frozen=True, slots=True)
class Finding:
    """One line. `detail` says what is, and where it is not well what to do."""

    what: str
    is_well: bool
    detail: str


async def run_checks() -> list[Finding]:
    """Look at everything that can be looked at; a failure ends what depends on it and nothing else."""
    try:
        settings = read_settings()
        secret, _ = settings.secrets()
    except SettingsError as error:
        return [Finding("settings", False, str(error))]
    findings = [Finding("settings", True, "complete")]
    database = Database(settings.database_url, direct_url=settings.database_direct_url)
    try:
        finding = await _check_database(database)
        findings.append(finding)
        if finding.is_well:
            findings += [
                item async for item in _check_ringcentral(settings, database, Vault(secret), SystemClock())
            ]
    finally:
        await database.close()
    return findings


async def _check_database(database: Database) -> Finding:
    where = database.url.render_as_string(hide_password=True)
    try:
        revision = await current_revision(database)
    except StorageUnavailable as error:
        return Finding(
            "database", False, f"{where}: {error}; is the server up, is AFTERCALL_DATABASE_URL right?"
        )
    if revision != head():
        state = f"is at {revision}" if revision else "has no schema yet"
        return Finding("database", False, f"{where} {state}; run `aftercall migrate`")
    return Finding("database", True, f"{where}, schema {revision}")


async def _check_ringcentral(
    settings: Settings, database: Database, vault: Vault, clock: Clock
) -> AsyncIterator[Finding]:
    async with database.read() as db:
        has_others = any(one.kind != OWN for one in await list_stored(db))
    if not settings.has_credentials and not has_others:
        missing = [
            name
            for name, value in (
                ("RC_CLIENT_ID", settings.rc_client_id),
                ("RC_CLIENT_SECRET", settings.rc_client_secret),
                ("RC_JWT", settings.rc_jwt),
            )
            if not value
        ]
        yield Finding("credentials", False, f"set {', '.join(missing)}; without them no call is enriched")
        return
    for finding in await check_accounts(settings, database, vault, clock):
        yield finding


async def check_accounts(settings: Settings, database: Database, vault: Vault, clock: Clock) -> list[Finding]:
    """Look at all credentials, side by side: those of the environment first, then those of added accounts."""
    async with database.read() as db:
        unusable = [
            Finding(f"account {member.holder}, {member.name}", False, str(member.problems[0]["detail"]))
            for account in await load_roster(db, settings, vault, clock.now())
            for member in account.members
            if member.problems and member.problems[0]["code"] in (UNREADABLE, OTHER_APP)
        ]
    async with httpx.AsyncClient() as http:
        connections = Connections(settings, database, clock, vault, http, replica="check")
        own_first = sorted(await connections.all(), key=lambda one: one.kind != OWN)
        listening = {(one.holder, one.name) for one in who_keeps(own_first)}
        look = _Look(settings, connections, clock.now())
        looks = await asyncio.gather(
            *(look.at(one, listens=(one.holder, one.name) in listening) for one in own_first)
        )
    found = [finding for findings in looks for finding in findings] + unusable
    return found + await _check_silences(database, clock.now()) + _check_clock(connections.meter)


async def _check_silences(database: Database, now: datetime) -> list[Finding]:
    """Tell of rate groups that RingCentral has silenced for long."""
    async with database.read() as db:
        silences = await load_silences(db, now)
    return [
        Finding(
            "rate limit" if account_id == UNBOUND_ACCOUNT else f"account {account_id}, {name}: rate limit",
            False,
            str(problem["detail"]),
        )
        for account_id, name, problem in silences
    ]


def _check_clock(meter: SkewMeter) -> list[Finding]:
    """Compare our clock with RingCentral's, if it answered at all."""
    if meter.skew is None:
        return []
    problem = describe_skew(meter.skew, "this machine")
    detail = f"within {meter.skew.most:.1f} s of RingCentral's"
    return [Finding("clock", problem is None, problem["detail"] if problem else detail)]


class _Look:
    """One look at each connection. What RingCentral says of its rights is noted as if it had been met at work."""

    def __init__(self, settings: Settings, connections: Connections, now: datetime) -> None:
        self._settings = settings
        self._connections = connections
        self._now = now

    async def at(self, connection: Connection, *, listens: bool) -> list[Finding]:
        """Return what was found; `listens` says that the account's events come through this connection."""
        is_own = connection.kind == OWN
        label = "" if is_own else f"account {connection.holder}, {connection.name}: "
        try:
            findings = await self._findings(connection, listens=listens)
        except RingCentralError as error:
            await self._connections.note(connection, error)
            what = describe(error, connection.kind)
            where = f"{self._settings.rc_server_url}: " if is_own else ""
            findings = [Finding("credentials", False, where + (what["detail"] if what else error.detail))]
        return [replace(finding, what=f"{label}{finding.what}") for finding in findings]

    async def _findings(self, connection: Connection, *, listens: bool) -> list[Finding]:
        """Raises CredentialsRefused from wherever it comes: a token at hand may have died meanwhile."""
        settings, client = self._settings, connection.client
        await self._connections.forget_refusal(connection)
        token = await client.fetch_token()
        scopes = " ".join(sorted(token.scopes)) or "no scopes named"
        findings = [Finding("credentials", True, f"extension {token.owner_id}, {scopes}")]
        lacking = missing_scopes(token.scopes)
        if lacking:
            words = ", ".join(f"{scope} (to {NEEDED_SCOPES[scope]})" for scope in lacking)
            findings.append(
                Finding("app scopes", False, f"grant {words} to the app in the developer console")
            )
        active_calls, sees_company = await self._check_active_calls(connection, token.owner_id)
        findings.append(active_calls)
        findings += [
            Finding("met at work", False, str(refused["detail"]))
            for refused in missing_beside(connection.access, self._now, is_own=False)
        ]
        if listens and (connection.kind == OWN or settings.webhook_address is not None):
            filters = settings.event_filters
            if not (sees_company and connection.is_company_wide):
                filters = of_extension(filters)
            findings.append(await _check_subscription(settings, client, filters))
        return findings

    async def _check_active_calls(self, connection: Connection, owner_id: str | None) -> tuple[Finding, bool]:
        """Return what was found; and False if RingCentral said that the user does not see the whole account."""
        of_account = replace(connection, access=replace(connection.access, level=Level.ACCOUNT))
        sees_company, error = True, None
        try:
            page = await connection.client.fetch_active_calls_page(1, 1, priority=Priority.CONTENT)
            is_well, detail = True, f"readable, account {page.account_id or 'not named'}"
        except CredentialsRefused:
            raise
        except PermissionMissing as missing:
            error = missing
            sees_company = missing.code not in COMPANY_CODES
            is_well = not sees_company and connection.kind != OWN
            detail = (
                f"readable of extension {owner_id} alone; for the whole account grant {missing.permission}"
            )
            if not is_well:
                detail = f"{missing.detail}: grant {missing.permission or 'ReadCallLog'}"
        except RateLimited as limited:
            return _unasked(limited), True
        except RingCentralError as failure:
            return Finding("active calls", False, failure.detail), True
        await self._connections.note(of_account, error)
        return Finding("active calls", is_well, detail), sees_company


def _unasked(limited: RateLimited) -> Finding:
    detail = f"not asked, the limit is used up until {limited.retry_at:%H:%M:%S} UTC"
    return Finding("active calls", True, detail)


async def _check_subscription(
    settings: Settings, client: RingCentralClient, filters: Sequence[str]
) -> Finding:
    if settings.webhook_address is None:
        detail = "set AFTERCALL_PUBLIC_URL to the https address at which RingCentral reaches this service"
        return Finding("subscription", False, detail)
    try:
        token = await client.fetch_token()
        found = await client.list_subscriptions()
    except CredentialsRefused:
        raise
    except RingCentralError as error:
        return Finding("subscription", False, error.detail)
    ours = [item for item in found if item.is_webhook and item.address == settings.webhook_address]
    active = [item for item in ours if item.is_active]
    if not active:
        states = ", ".join(f"{item.id} is {item.status}" for item in ours) or "there is none"
        return Finding(
            "subscription", False, f"{states} for {settings.webhook_address}; `aftercall serve` makes one"
        )
    best = active[0]
    if best.disabled_filters:
        words = "; ".join(f"{item.filter}: {item.message or item.reason}" for item in best.disabled_filters)
        return Finding("subscription", False, f"RingCentral refuses filters: {words}")
    if not has_same_filters(filters, best.event_filters, token.owner_id):
        return Finding(
            "subscription", False, f"{best.id} listens to other filters; `aftercall serve` mends that"
        )
    return Finding("subscription", True, f"{best.id}, until {best.expiration_time}")
