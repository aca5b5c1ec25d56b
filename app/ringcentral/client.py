"""The client of RingCentral's API: what `protocol` knows, sent through `transport` with the token of `auth`.

Every method can raise, and says only what it adds to:

- RateLimited: no slot of the budget before `deadline`, or a 429; then nobody may send before `retry_at`
- RingCentralUnreachable: no usable answer after all tries
- CredentialsRefused, PermissionMissing: a person has to act
- RequestRefused, ForeignHost: this request will never work

`deadline` (aware UTC) bounds the wait for a slot and the repetitions; None leaves it to the budget.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar

import httpx
import structlog

from app import metrics
from app.clock import Clock
from app.errors import RequestRefused, RingCentralError, RingCentralUnreachable
from app.ids import AccountId, ExtensionId, RecordId, SessionId, TelephonySessionId
from app.ringcentral import oauth, protocol, protocol_errors
from app.ringcentral.auth import AuthConfig, TokenKeeper
from app.ringcentral.journal import Journal
from app.ringcentral.models import (
    BulkItem,
    Insights,
    Recording,
    RecordsPage,
    RecordsSync,
    Subscription,
    TelephonySession,
)
from app.ringcentral.ports import Priority, RateBudget, StoredToken, TokenStore
from app.ringcentral.protocol import ActiveCallsQuery, CallLogQuery
from app.ringcentral.protocol_errors import ParameterExcluded, TokenRefused, TooManyIds
from app.ringcentral.reachability import ReachMeter
from app.ringcentral.skew import SkewMeter
from app.ringcentral.transport import ClientConfig, ContentStream, Transport, Unanswered
from app.ringcentral.wire import Request, Response, read_rate_headers

T = TypeVar("T")

_log = structlog.get_logger()

MAX_REDIRECTS = 3
LARGE_BYTES = 64 * 1024
"""An answer from this size on, some twenty detailed records, is not decoded on the event loop."""


def connect(
    http: httpx.AsyncClient,
    config: ClientConfig,
    auth: AuthConfig,
    *,
    store: TokenStore,
    budget: RateBudget,
    clock: Clock,
    meter: SkewMeter | None = None,
    reach: ReachMeter | None = None,
    journal: Journal | None = None,
) -> "RingCentralClient":
    """Put a client together. `http` stays the caller's, to close as well.

    `meter` hears the date of each answer, `reach` whether there was one; `journal` logs it.
    """
    transport = Transport(http, config, budget, clock, meter, reach, journal)
    return RingCentralClient(transport, config, TokenKeeper(transport, auth, store, clock), clock)


class RingCentralClient:
    """Reads calls and keeps subscriptions, as one user of one account."""

    def __init__(self, transport: Transport, config: ClientConfig, tokens: TokenKeeper, clock: Clock) -> None:
        self._transport = transport
        self._config = config
        self._tokens = tokens
        self._clock = clock
        self._bulk_limit = protocol.BULK_LIMIT

    async def fetch_token(self) -> StoredToken:
        """Return the present token, for its `owner_id` and `scopes`; proves that the credentials work."""
        return await self._tokens.token()

    async def fetch_account_id(self, *, deadline: datetime | None = None) -> AccountId | None:
        """Return whose account it is. Takes the app scope ReadAccounts and spends nothing of Heavy."""
        return oauth.decode_account_id(await self._send(oauth.account_info(), Priority.POLL, deadline))

    async def fetch_active_calls_page(
        self,
        page: int,
        per_page: int,
        *,
        extension_id: ExtensionId | None = None,
        priority: Priority = Priority.POLL,
        deadline: datetime | None = None,
    ) -> RecordsPage:
        """Return one page of recent calls of the account or of one extension; see `protocol.wants_next_page`."""
        request = protocol.active_calls(page, per_page, extension_id=extension_id)
        answer = await self._send(request, priority, deadline)
        return await _beside(answer, protocol.decode_records_page)

    async def fetch_active_calls_by(
        self,
        query: ActiveCallsQuery,
        *,
        extension_id: ExtensionId | None = None,
        priority: Priority = Priority.POLL,
        deadline: datetime | None = None,
    ) -> RecordsPage:
        """Return one page of recent calls; a filter that the server drops has no effect: check the records."""
        request = protocol.active_calls_by(query, extension_id=extension_id)
        answer = await self._send(request, priority, deadline)
        return await _beside(answer, protocol.decode_records_page)

    async def fetch_call_log_page(
        self,
        query: CallLogQuery,
        *,
        extension_id: ExtensionId | None = None,
        priority: Priority = Priority.RECONCILE,
        deadline: datetime | None = None,
    ) -> RecordsPage:
        """Return one page of the call log. A filter that the server does not know is ignored: check the records."""
        request = protocol.call_log(query, extension_id=extension_id)
        answer = await self._send(request, priority, deadline)
        return await _beside(answer, protocol.decode_records_page)

    async def fetch_call_log_window(
        self,
        date_from: datetime,
        date_to: datetime,
        *,
        page: int = 1,
        per_page: int = 1000,
        extension_id: ExtensionId | None = None,
        priority: Priority = Priority.RECONCILE,
        deadline: datetime | None = None,
    ) -> RecordsPage:
        """Return one page of detailed voice records whose **start** lies between the two; keep them fixed over pages."""
        query = CallLogQuery(
            date_from=date_from, date_to=date_to, type=("Voice",), page=page, per_page=per_page
        )
        return await self.fetch_call_log_page(
            query, extension_id=extension_id, priority=priority, deadline=deadline
        )

    async def fetch_call_log_by_session(
        self,
        session_id: SessionId,
        *,
        extension_id: ExtensionId | None = None,
        view: str = "Detailed",
        priority: Priority = Priority.RECONCILE,
        deadline: datetime | None = None,
    ) -> RecordsPage:
        """Return the records of one session, detailed if the server can; records of others are dropped.

        A call that is older than a day may be missed: look through its start-time window then.
        """
        request = protocol.call_log_by_session(session_id, extension_id=extension_id, view=view)
        try:
            answer = await self._send(request, priority, deadline)
        except ParameterExcluded as refusal:
            barer = protocol.without_excluded(request, refusal)
            if barer is None:
                raise
            answer = await self._send(barer, priority, deadline)
        page = await _beside(answer, protocol.decode_records_page)
        return protocol.only_session(page, session_id)

    async def fetch_call_records(
        self,
        ids: Sequence[RecordId],
        *,
        extension_id: ExtensionId | None = None,
        view: str = "Detailed",
        priority: Priority = Priority.RECONCILE,
        deadline: datetime | None = None,
    ) -> list[BulkItem]:
        """Return one item per id, in that order; costs one request per thirty ids or what the server allows."""
        found: list[BulkItem] = []
        rest = list(ids)
        while rest:
            chunk, asked_at = rest[: self._bulk_limit], self._clock.now()
            request = protocol.call_records(chunk, extension_id=extension_id, view=view)
            try:
                answer = await self._send(request, priority, deadline)
            except TooManyIds as refusal:
                self._lower_bulk_limit(refusal, len(chunk))
                continue
            except RequestRefused as refusal:
                if len(chunk) > 1 or refusal.status != 404:
                    raise
                found.append(BulkItem(id=chunk[0], sent_at=asked_at, status=404, why=refusal.code))
            else:
                found += await _beside(answer, partial(protocol.decode_call_records, ids=chunk))
            rest = rest[len(chunk) :]
        return found

    async def fetch_call_log_changes(
        self,
        token: str | None,
        date_from: datetime | None = None,
        *,
        priority: Priority = Priority.RECONCILE,
        deadline: datetime | None = None,
    ) -> RecordsSync | None:
        """Return records of the whole account that changed since a token, else from `date_from` on.

        None where the tenant has no extract sync. Raises SyncTokenRefused when it has to be begun anew. Store the
        answer's token when its records are stored, not before.
        """
        answer = await self._send_or_404(protocol.call_log_changes(token, date_from), priority, deadline)
        return await _beside(answer, protocol.decode_sync) if answer else None

    async def fetch_call_log_sync(
        self,
        token: str | None,
        date_from: datetime | None = None,
        *,
        extension_id: ExtensionId | None = None,
        priority: Priority = Priority.RECONCILE,
        deadline: datetime | None = None,
    ) -> RecordsSync:
        """Return up to 250 records of the account or of one extension that changed since a token.

        Raises SyncTokenRefused when there were more changes, or the token is not valid any more. An official SDK's
        test found it to page through the past instead of following changes: do not rely on it alone.
        """
        request = protocol.call_log_sync(token, date_from, extension_id=extension_id)
        return await _beside(await self._send(request, priority, deadline), protocol.decode_sync)

    async def fetch_recording(
        self,
        recording_id: str,
        *,
        priority: Priority = Priority.METADATA,
        deadline: datetime | None = None,
    ) -> Recording | None:
        """Return a recording's metadata; None while it is not ready, and also once it is purged."""
        answer = await self._send_or_404(protocol.recording(recording_id), priority, deadline)
        return protocol.decode_recording(answer) if answer else None

    @asynccontextmanager
    async def stream_recording(
        self,
        content_uri: str,
        *,
        byte_range: str | None = None,
        priority: Priority = Priority.CONTENT,
        deadline: datetime | None = None,
    ) -> AsyncIterator[ContentStream]:
        """Open the sound of a recording at its `contentUri`; the host must be a configured one.

        Both 200 as the answer to a range and 206 as the answer to none are possible. Not repeated once it flows;
        `chunks` raises RingCentralUnreachable if it breaks off. Raises RangeRefused for a range behind the end.
        """
        request = protocol.recording_content(content_uri, byte_range)
        token = await self._tokens.token()
        for last_try in (False, True):
            async with self._transport.stream(request, _bearer(token), priority, deadline) as answer:
                if isinstance(answer, ContentStream):
                    yield answer
                    return
            if answer.is_redirect and not last_try:
                request = self._follow(request, answer)
                continue
            error = self._error_of(answer)
            if not isinstance(error, TokenRefused) or last_try:
                raise error
            token = await self._tokens.renew(token)

    async def fetch_session(
        self,
        telephony_session_id: TelephonySessionId,
        *,
        priority: Priority = Priority.POLL,
        deadline: datetime | None = None,
    ) -> TelephonySession | None:
        """Return a telephony session that is going on; None if it is over. Spends nothing of Heavy."""
        answer = await self._send_or_404(protocol.telephony_session(telephony_session_id), priority, deadline)
        return protocol.decode_session(answer) if answer else None

    async def fetch_session_insights(
        self,
        telephony_session_id: TelephonySessionId,
        *,
        priority: Priority = Priority.METADATA,
        deadline: datetime | None = None,
    ) -> tuple[Insights, ...] | None:
        """Return what conversation analysis says of a call, one item per recording; None until there is something.

        Without licence, scope or permission it is refused with 403, as PermissionMissing or RequestRefused.
        """
        request = protocol.session_insights(telephony_session_id)
        answer = await self._send_or_404(request, priority, deadline)
        return protocol.decode_session_insights(answer, telephony_session_id) if answer else None

    async def fetch_record_insights(
        self,
        recording_id: str,
        *,
        priority: Priority = Priority.METADATA,
        deadline: datetime | None = None,
    ) -> Insights | None:
        """Return what conversation analysis says of one recording; otherwise as `fetch_session_insights`."""
        answer = await self._send_or_404(protocol.record_insights(recording_id), priority, deadline)
        return protocol.decode_record_insights(answer, recording_id) if answer else None

    async def list_subscriptions(self, *, deadline: datetime | None = None) -> tuple[Subscription, ...]:
        """Return all subscriptions of this user and app, those of other transports and services too."""
        answer = await self._send(protocol.list_subscriptions(), Priority.POLL, deadline)
        return protocol.decode_subscriptions(answer)

    async def fetch_subscription(
        self, subscription_id: str, *, deadline: datetime | None = None
    ) -> Subscription | None:
        """Return the subscription; None if it has expired or never was."""
        return await self._subscription(protocol.get_subscription(subscription_id), deadline)

    async def create_subscription(
        self,
        event_filters: Sequence[str],
        address: str,
        verification_token: str,
        expires_in_seconds: int,
        *,
        deadline: datetime | None = None,
    ) -> Subscription:
        """Make a webhook subscription; look at `disabled_filters` and `expiration_time` of what comes back.

        RingCentral answers only after it has shaken hands with `address`: it must be served already. Not
        repeated: after RingCentralUnreachable the subscription may exist, so list before making another.
        """
        request = protocol.create_subscription(event_filters, address, verification_token, expires_in_seconds)
        return protocol.decode_subscription(await self._send(request, Priority.POLL, deadline))

    async def renew_subscription(
        self, subscription_id: str, *, deadline: datetime | None = None
    ) -> Subscription | None:
        """Give the subscription a new life; None if it has expired. Read `expiration_time` back."""
        return await self._subscription(protocol.renew_subscription(subscription_id), deadline)

    async def update_subscription(
        self,
        subscription_id: str,
        event_filters: Sequence[str],
        expires_in_seconds: int | None = None,
        *,
        deadline: datetime | None = None,
    ) -> Subscription | None:
        """Set the filters and renew; None if the subscription has expired."""
        request = protocol.update_subscription(subscription_id, event_filters, expires_in_seconds)
        return await self._subscription(request, deadline)

    async def delete_subscription(self, subscription_id: str, *, deadline: datetime | None = None) -> bool:
        """Delete the subscription; False if there was none."""
        request = protocol.delete_subscription(subscription_id)
        return await self._send_or_404(request, Priority.POLL, deadline) is not None

    async def _subscription(self, request: Request, deadline: datetime | None) -> Subscription | None:
        answer = await self._send_or_404(request, Priority.POLL, deadline)
        return protocol.decode_subscription(answer) if answer else None

    async def _send_or_404(
        self, request: Request, priority: Priority, deadline: datetime | None
    ) -> Response | None:
        try:
            return await self._send(request, priority, deadline)
        except RequestRefused as refusal:
            if refusal.status != 404:
                raise
            return None

    async def _send(self, request: Request, priority: Priority, deadline: datetime | None) -> Response:
        """Send the request until it succeeds or there is no more point; each attempt costs a slot.

        A refused token is renewed once, a redirect is followed to configured hosts, a failure that may pass is
        repeated after a pause that doubles. A 429 is never repeated: the whole bucket has to fall silent.
        """
        token = await self._tokens.token()
        has_renewed, redirects, failures = False, 0, 0
        while True:
            try:
                answer = await self._transport.attempt(request, _bearer(token), priority, deadline)
            except Unanswered as silence:
                failures += 1
                await self._back_off(request, silence, failures, None, deadline)
                continue
            if answer.is_success:
                return answer
            if answer.is_redirect and redirects < MAX_REDIRECTS:
                redirects += 1
                request = self._follow(request, answer)
                continue
            error = self._error_of(answer)
            if isinstance(error, TokenRefused) and not has_renewed:
                has_renewed = True
                token = await self._tokens.renew(token)
                continue
            failures += 1
            await self._back_off(request, error, failures, answer, deadline)

    async def _back_off(
        self,
        request: Request,
        error: RingCentralError,
        failures: int,
        answer: Response | None,
        deadline: datetime | None,
    ) -> None:
        """Pause before the next try, or raise `error` if there shall be none."""
        config, now = self._config, self._clock.now()
        may_pass = isinstance(error, RingCentralUnreachable)
        if not may_pass or not request.is_repeatable or failures >= config.tries:
            raise error
        told = read_rate_headers(answer, now).retry_after_seconds if answer else None
        seconds = told or min(config.backoff_seconds * 2.0 ** (failures - 1), config.backoff_cap_seconds)
        if seconds > config.backoff_cap_seconds or (
            deadline and now + timedelta(seconds=seconds) >= deadline
        ):
            raise error
        await self._clock.sleep(seconds)

    def _follow(self, request: Request, answer: Response) -> Request:
        """Return the request that the redirect asks for; its host is checked before it is sent."""
        sent_to = str(self._transport.address(request))
        followed = protocol.redirected(request, sent_to, answer)
        if followed is None:
            raise self._error_of(answer)
        return followed

    def _error_of(self, answer: Response) -> RingCentralError:
        return protocol_errors.decode_error(
            answer, self._clock.now(), penalty_seconds=self._config.penalty_seconds
        )

    def _lower_bulk_limit(self, refusal: TooManyIds, asked: int) -> None:
        """Learn how many ids one request may have. Raises the refusal if it makes no sense."""
        limit = refusal.limit if refusal.limit and refusal.limit < asked else asked // 2
        if limit < 1:
            raise refusal
        self._bulk_limit = limit


async def _beside(answer: Response, decode: Callable[[Response], T]) -> T:
    """Decode an answer, a large one beside the loop: a thousand detailed records take a tenth of a second.

    The intake of deliveries shares the loop, and RingCentral suspends a webhook that answers late.
    """
    small = len(answer.body) < LARGE_BYTES
    decoded = decode(answer) if small else await asyncio.to_thread(decode, answer)
    if isinstance(decoded, RecordsPage | RecordsSync) and decoded.bad:
        metrics.SET_ASIDE.labels(source="unreadable").inc(len(decoded.bad))
        reasons = sorted({item.why for item in decoded.bad})
        _log.warning(
            "records cannot be read", count=len(decoded.bad), why=reasons, request_id=answer.request_id
        )
    return decoded


def _bearer(token: StoredToken) -> str:
    return f"Bearer {token.access_token}"
