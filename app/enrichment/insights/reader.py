"""Requests the conversation insights of recorded calls, once per call: usually an event brings them.

The product is optional: 403 where it was not bought or granted, 404 until a call was analysed, some half an
hour after its end (guide "Conversation insights"). So the insights of an account's first recorded call are
requested at once to find out. The result is remembered, and an account without the product is not asked again
for hours. Uses the Light bucket, nothing of Heavy.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from app import metrics
from app.accounts.connections import Connection
from app.accounts.context import AccountsContext, AccountsWorker
from app.accounts.selection import find_connections
from app.calls import store
from app.calls.insights.availability import Availability, load_availability, next_check_at, save_availability
from app.calls.ledger import open_ledger
from app.calls.model import NO_SESSION, Call
from app.enrichment.insights import due_insights
from app.enrichment.insights.insights_changes import apply_result
from app.enrichment.insights.results import (
    METRIC_OUTCOMES,
    Found,
    GivenUp,
    Missing,
    Refused,
    Result,
    Retry,
    learn,
)
from app.enrichment.records.reasons import MissingReason
from app.enrichment.records.set_aside import TEMPORARY_FAILURES, SetAsideLog
from app.errors import CredentialsRefused, PermissionMissing, RateLimited, RequestRefused, RingCentralError
from app.ids import AccountId, TelephonySessionId
from app.ringcentral.models import Insights
from app.work.failures import log_failure
from app.work.rounds import Agenda, Rounds

_REASONS = {
    "CMN-401": MissingReason.NO_SCOPE,
    "CMN-402": MissingReason.NO_PERMISSION,
    "CMN-408": MissingReason.NO_PERMISSION,
}
_MOST_AT_ONCE = 20
_LONGEST_TURN_SECONDS = 600.0
_LONGEST_RETRY = 24
"""Failing requests are given up after so many times the usual delay."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class InsightsPlan:
    """When insights are requested, in seconds. `after`: from the end of a call; None: not at all.

    `forget` is how long a refusal is remembered, `lease` how long one replica may take for one request.
    """

    after: float | None
    forget: float
    lease: float = 60.0


class InsightsReader(AccountsWorker):
    """The background work that requests insights."""

    any_due = due_insights.ANY_DUE

    def __init__(self, context: AccountsContext, plan: InsightsPlan) -> None:
        super().__init__(context)
        self._plan = plan
        self._set_aside_log = SetAsideLog(context.database, context.clock)
        self._rounds = Rounds(
            "insights",
            context,
            Agenda(
                find_accounts=due_insights.find_due_accounts,
                find_next=due_insights.find_next_due,
                serve=self._serve,
            ),
            most_at_once=_MOST_AT_ONCE,
            longest_seconds=_LONGEST_TURN_SECONDS,
        )

    async def step(self) -> float | None:
        """Request what is due, a few of each account; return in how many seconds the next is due."""
        return await self._rounds.step()

    async def close(self) -> None:
        """Stop the requests that are under way; they are due again."""
        await self._rounds.close()

    async def _serve(self, account_id: AccountId) -> bool:
        now = self._clock.now()
        async with self._database.write() as db, open_ledger(db, account_id, now) as ledger:
            call = await due_insights.claim_due(ledger, now + timedelta(seconds=self._plan.lease))
            availability = await load_availability(db, account_id)
        if call is None:
            return False
        result = await self._request(account_id, call, availability)
        metrics.INSIGHTS.labels(outcome=METRIC_OUTCOMES[type(result)]).inc()
        try:
            await self._write(account_id, call.call_id, result)
        except TEMPORARY_FAILURES:
            raise
        except Exception as error:  # noqa: BLE001 - whatever these insights cause, other calls go on
            await self._set_aside(account_id, call.call_id, error)
        return True

    async def _set_aside(self, account_id: AccountId, call_id: str, error: Exception) -> None:
        """Give up insights that cannot be stored."""
        await self._set_aside_log.note(account_id, "insights", call_id, error)
        try:
            await self._write(account_id, call_id, GivenUp(MissingReason.UNSTORABLE))
        except TEMPORARY_FAILURES:
            raise
        except Exception:  # noqa: BLE001 - the call cannot be written either; noted above
            await self._set_aside_log.stop_insights(account_id, call_id)

    async def _request(self, account_id: AccountId, call: Call, availability: Availability) -> Result:
        """Try each connection that can see the call until one is not refused.

        RingCentral may answer that there is nothing to a user who was not in the call.
        """
        now = self._clock.now()
        if self._plan.after is None:
            return GivenUp(MissingReason.SWITCHED_OFF)
        async with self._database.read() as db:
            extension_ids = await store.extensions_of(db, account_id, [call.call_id])
        fitting = await find_connections(self._connections, account_id, extension_ids)
        usable = [one for one in fitting if one.access.problem is None]
        if not usable:
            reason = MissingReason.NO_CREDENTIALS
            return self._retry(call, self._plan.after, reason) if fitting else GivenUp(reason)
        refusal = availability.reason or MissingReason.NO_LICENCE
        refused: dict[str, datetime] = {}
        for connection in usable:
            if availability.is_refused(connection.name, now):
                continue
            result = await self._request_with(account_id, connection, call)
            if not isinstance(result, Refused):
                return result
            refusal = result.reason
            refused |= result.refused
        return Refused(refusal, refused, await self._is_refused_to_all(account_id, availability, refused))

    async def _is_refused_to_all(
        self, account_id: AccountId, availability: Availability, refused: Mapping[str, datetime]
    ) -> bool:
        now = self._clock.now()
        return all(
            one.name in refused or availability.is_refused(one.name, now)
            for one in await self._connections.of(account_id)
            if one.access.problem is None
        )

    async def _request_with(self, account_id: AccountId, connection: Connection, call: Call) -> Result:
        now = self._clock.now()
        try:
            items = await self._fetch(account_id, connection, call)
        except RateLimited as error:
            return Retry(error.retry_at, whole_account=True)
        except (PermissionMissing, RequestRefused) as error:
            log.info("insights are refused", name=connection.name, code=error.code, why=error.detail)
            if error.status not in (None, 403):
                return GivenUp(error.code or f"refused-{error.status}")
            until = now + timedelta(seconds=self._plan.forget)
            return Refused(_REASONS.get(error.code or "", MissingReason.NO_LICENCE), {connection.name: until})
        except RingCentralError as error:
            log_failure(log, "requesting insights failed", error)
            after = self._plan.after or 0.0
            return self._retry(call, after if isinstance(error, CredentialsRefused) else after / 12)
        return Found(items) if items else Missing()

    async def _fetch(self, account_id: AccountId, connection: Connection, call: Call) -> Sequence[Insights]:
        # The deadline is now, so that this does not wait for the rate limit: another account may be served.
        client, now = connection.client, self._clock.now()
        if not call.telephony_session_id.startswith(NO_SESSION):
            session_id = TelephonySessionId(call.telephony_session_id)
            return await client.fetch_session_insights(session_id, deadline=now) or ()
        async with self._database.read() as db:
            known = await due_insights.load_recording_ids(db, account_id, call.call_id)
        found = [await client.fetch_record_insights(one, deadline=now) for one in known]
        return [item for item in found if item is not None]

    def _retry(self, call: Call, pause: float, reason: str = MissingReason.UNREACHABLE) -> Result:
        """Try again after a pause, or give up with the reason when that has lasted for too long."""
        now = self._clock.now()
        if now > next_check_at(call, _LONGEST_RETRY * (self._plan.after or 0.0)):
            return GivenUp(reason)
        return Retry(now + timedelta(seconds=pause))

    async def _write(self, account_id: AccountId, call_id: str, result: Result) -> None:
        """Write the result to the call, and what it says about the account."""
        now = self._clock.now()
        async with self._database.write() as db, open_ledger(db, account_id, now) as ledger:
            call = (await store.load_by_ids(db, account_id, [call_id])).get(call_id)
            if call is None:
                return
            # Loaded again: other calls of the account may have changed it during the request.
            availability = await load_availability(db, account_id)
            await apply_result(ledger, call, result, next_check_at(call, self._plan.after or 0.0))
            learnt = learn(availability, result, now)
            if learnt != availability:
                await save_availability(db, account_id, learnt)
        if isinstance(result, Retry) and result.whole_account:
            self._rounds.hold_back(account_id, result.at)
