"""Checks one connection: signs in, reads Active Calls, compares the subscription.

What RingCentral's responses show about its rights is recorded as if the service had received them at work.
"""

from collections.abc import Sequence
from dataclasses import replace

from app.accounts.access import COMPANY_CODES, Level
from app.accounts.connections import Connection, Connections
from app.accounts.credentials import OWN
from app.accounts.remedies import describe
from app.errors import CredentialsRefused, PermissionMissing, RateLimited, RingCentralError
from app.ids import UNBOUND_ACCOUNT, AccountId
from app.ops.checks.results import CheckResult, Findings
from app.ops.problems.model import ProblemCode, ProblemToFix, Subject, read_problem
from app.ringcentral.client import RingCentralClient
from app.ringcentral.ports import Priority
from app.ringcentral.protocol.subscriptions import has_same_filters
from app.ringcentral.reachability import code_of
from app.settings import Settings
from app.webhooks.subscriptions.choice import describe_disabled, of_extension
from app.webhooks.subscriptions.remedies import advise


class ConnectionChecker:
    """Checks connections. `own_id` is the account of the own credentials, `~` while it is unknown."""

    def __init__(self, settings: Settings, connections: Connections, own_id: AccountId) -> None:
        self._settings = settings
        self._connections = connections
        self._own_id = own_id

    async def check(self, connection: Connection, *, owns_subscription: bool) -> Findings:
        """Return what was found. With `owns_subscription` the account's events arrive by this connection."""
        try:
            found = await self._check(connection, owns_subscription=owns_subscription)
        except RingCentralError as error:
            await self._connections.note(connection, error)
            return Findings(problems=(self._problem(connection, Subject.CREDENTIALS, error),))
        if connection.kind == OWN:
            return found
        label = f"account {connection.holder}, {connection.name}: "
        passed = tuple(replace(line, subject=f"{label}{line.subject}") for line in found.passed)
        return replace(found, passed=passed)

    async def _check(self, connection: Connection, *, owns_subscription: bool) -> Findings:
        """Raises CredentialsRefused from any request: a stored token may have been revoked meanwhile."""
        settings, client = self._settings, connection.client
        # A refusal that is known already is not repeated: ask RingCentral again.
        await self._connections.forget_refusal(connection)
        token = await client.fetch_token()
        await self._connections.learn_scopes(connection, token)
        scopes = " ".join(sorted(token.scopes)) or "no scopes named"
        passed = [CheckResult("credentials", True, f"extension {token.owner_id}, {scopes}")]
        try:
            result, sees_company = await self._check_active_calls(connection, token.owner_id)
            passed += [result] if result else []
        except RateLimited as limited:
            # Not known: assume the common case, an administrator's credentials.
            sees_company = True
            detail = f"not checked, the limit is used up until {limited.retry_at:%H:%M:%S} UTC"
            passed.append(CheckResult("active calls", True, detail))
        if not owns_subscription or settings.webhook_address is None:
            return Findings(tuple(passed))
        filters = settings.event_filters
        if not (sees_company and connection.is_company_wide):
            filters = of_extension(filters)
        try:
            found = await _check_subscription(settings, client, filters)
        except (CredentialsRefused, PermissionMissing):
            # A problem of the credentials, not of the subscription.
            raise
        except RingCentralError as error:
            found = self._problem(connection, Subject.SUBSCRIPTION, error)
        if isinstance(found, CheckResult):
            return Findings((*passed, found))
        problem = replace(found, account_id=self._account_of(connection), credentials=connection.name)
        return Findings(tuple(passed), (problem,))

    async def _check_active_calls(
        self, connection: Connection, owner_id: str | None
    ) -> tuple[CheckResult | None, bool]:
        """Return the result, None if it was refused; and False if the user cannot see the whole account."""
        # The request is for the whole account, so its result is recorded at that level.
        of_account = replace(connection, access=replace(connection.access, level=Level.ACCOUNT))
        try:
            page = await connection.client.fetch_active_calls_page(1, 1, priority=Priority.CONTENT)
        except PermissionMissing as missing:
            await self._connections.note(of_account, missing)
            sees_company = missing.code not in COMPANY_CODES
            if sees_company or connection.kind == OWN:
                return None, sees_company
            detail = (
                f"readable for extension {owner_id} only; for the whole account grant {missing.permission}"
            )
            return CheckResult("active calls", True, detail), False
        await self._connections.note(of_account, None)
        return CheckResult("active calls", True, f"readable, account {page.account_id or 'not named'}"), True

    def _problem(self, connection: Connection, about: Subject, error: RingCentralError) -> ProblemToFix:
        """Return the problem as the service reports it when it receives this error at work."""
        stored = describe(error, connection.kind) if about is Subject.CREDENTIALS else None
        if stored is None:
            code = ProblemCode.RATE_LIMITED if isinstance(error, RateLimited) else code_of(error)
            server = f"{self._settings.rc_server_url}: " if connection.kind == OWN else ""
            stored = {"code": code, "detail": f"{server}{advise(code, error.detail)}"}
        return read_problem(about, self._account_of(connection), stored, connection.name)

    def _account_of(self, connection: Connection) -> AccountId:
        return self._own_id if connection.holder == UNBOUND_ACCOUNT else connection.holder


async def _check_subscription(
    settings: Settings, client: RingCentralClient, filters: Sequence[str]
) -> CheckResult | ProblemToFix:
    """Ask RingCentral for the subscription. A problem still lacks its account and credentials."""
    token = await client.fetch_token()
    listed = await client.list_subscriptions()
    ours = [item for item in listed if item.is_webhook and item.address == settings.webhook_address]
    active = [item for item in ours if item.is_active]
    if not active:
        states = ", ".join(f"{item.id} is {item.status}" for item in ours) or "there is none"
        return _missing(f"At RingCentral {states} for {settings.webhook_address}")
    best = active[0]
    disabled = describe_disabled(best)
    if disabled is not None:
        return read_problem(Subject.SUBSCRIPTION, UNBOUND_ACCOUNT, disabled)
    if not has_same_filters(filters, best.event_filters, token.owner_id):
        return _missing(f"{best.id} has other filters")
    return CheckResult("subscription", True, f"{best.id}, until {best.expiration_time}")


def _missing(detail: str) -> ProblemToFix:
    code = ProblemCode.SUBSCRIPTION_MISSING
    detail = f"{detail}; `aftercall serve` corrects that."
    return ProblemToFix(UNBOUND_ACCOUNT, Subject.SUBSCRIPTION, code, detail)
