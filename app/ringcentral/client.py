"""The client of RingCentral's API: the requests of `protocol`, sent by `sending` with the token of `auth`.

Any method can raise these; their docstrings name only what is special to them:

- RateLimited: no slot of the budget before `deadline`, or a 429; nobody may send before `retry_at`
- RingCentralUnreachable: no usable response after all tries
- CredentialsRefused, PermissionMissing: a person has to act
- RequestRefused, ForeignHost: this request will never work

`deadline` (aware UTC) bounds the wait for a slot and the retries; None leaves it to the budget.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from functools import partial
from typing import TypeVar

import httpx
import structlog

from app import metrics
from app.clock import Clock
from app.errors import RequestRefused
from app.ids import AccountId, ExtensionId, RecordId, SessionId, TelephonySessionId
from app.ringcentral.auth import AuthConfig, TokenKeeper
from app.ringcentral.directory_requests import DirectoryRequests
from app.ringcentral.models import (
    BulkItem,
    Insights,
    Recording,
    RecordsPage,
    RecordsSync,
    Subscription,
    TelephonySession,
    Voicemail,
)
from app.ringcentral.ports import Priority, RateBudget, TokenStore
from app.ringcentral.protocol import (
    calls,
    insights,
    oauth,
    paging,
    recordings,
    records,
    subscriptions,
    voicemails,
)
from app.ringcentral.protocol.calls import ActiveCallsQuery, CallLogQuery
from app.ringcentral.protocol.errors import ParameterExcluded, TooManyIds
from app.ringcentral.sending import Sender, decode_beside
from app.ringcentral.stored_tokens import StoredToken
from app.ringcentral.transport import ClientConfig, ContentStream, Meters, Transport
from app.ringcentral.wire import Request, Response

T = TypeVar("T")

_log = structlog.get_logger()


def connect(
    http: httpx.AsyncClient,
    config: ClientConfig,
    auth: AuthConfig,
    *,
    store: TokenStore,
    budget: RateBudget,
    clock: Clock,
    meters: Meters | None = None,
) -> "RingCentralClient":
    """Make a client. `http` stays the caller's, who closes it. `meters` observe every request."""
    transport = Transport(http, config, budget, clock, meters)
    return RingCentralClient(transport, config, TokenKeeper(transport, auth, store, clock), clock)


class RingCentralClient(DirectoryRequests):
    """Reads calls and manages subscriptions, as one user of one account."""

    def __init__(self, transport: Transport, config: ClientConfig, tokens: TokenKeeper, clock: Clock) -> None:
        self._sender = Sender(transport, config, tokens, clock)
        self._tokens = tokens
        self._clock = clock
        self._bulk_limit = calls.BULK_LIMIT

    async def fetch_token(self) -> StoredToken:
        """Return the current token, for its `owner_id` and `scopes`; proves that the credentials work."""
        return await self._tokens.token()

    async def fetch_account_id(self, *, deadline: datetime | None = None) -> AccountId | None:
        """Return the account of the credentials. Needs the app scope ReadAccounts, and no Heavy request."""
        response = await self._sender.send(oauth.account_info(), Priority.POLL, deadline)
        return oauth.decode_account_id(response)

    async def fetch_active_calls_page(
        self,
        page: int,
        per_page: int,
        *,
        extension_id: ExtensionId | None = None,
        priority: Priority = Priority.POLL,
        deadline: datetime | None = None,
    ) -> RecordsPage:
        """Return one page of recent calls of the account or an extension; see `paging.wants_next_page`."""
        query = ActiveCallsQuery(page=page, per_page=per_page)
        return await self.fetch_active_calls_by(
            query, extension_id=extension_id, priority=priority, deadline=deadline
        )

    async def fetch_active_calls_by(
        self,
        query: ActiveCallsQuery,
        *,
        extension_id: ExtensionId | None = None,
        priority: Priority = Priority.POLL,
        deadline: datetime | None = None,
    ) -> RecordsPage:
        """Return one page of recent calls. A server may ignore a filter, so check the records."""
        request = calls.active_calls(query, extension_id=extension_id)
        return await self._fetch(request, priority, deadline, records.decode_records_page)

    async def fetch_call_log_page(
        self,
        query: CallLogQuery,
        *,
        extension_id: ExtensionId | None = None,
        priority: Priority = Priority.RECONCILE,
        deadline: datetime | None = None,
    ) -> RecordsPage:
        """Return one page of the Call Log. A server ignores filters that it does not know, so check the
        records.
        """
        request = calls.call_log(query, extension_id=extension_id)
        return await self._fetch(request, priority, deadline, records.decode_records_page)

    async def fetch_call_log_window(
        self,
        date_from: datetime,
        date_to: datetime,
        *,
        page: int = 1,
        per_page: int = 1000,
        types: Sequence[str] = ("Voice",),
        extension_id: ExtensionId | None = None,
        priority: Priority = Priority.RECONCILE,
        deadline: datetime | None = None,
    ) -> RecordsPage:
        """Return one page of detailed records that **start** in a range, the same for all pages.

        `types` are RingCentral's: Voice, Fax.
        """
        query = CallLogQuery(
            date_from=date_from, date_to=date_to, type=tuple(types), page=page, per_page=per_page
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
        """Return the records of one session, detailed if the server can. Records of other sessions are
        dropped.

        A call that is older than a day may be missing: search the range of its start time then.
        """
        request = calls.call_log_by_session(session_id, extension_id=extension_id, view=view)
        decode = records.decode_records_page
        try:
            page = await self._fetch(request, priority, deadline, decode)
        except ParameterExcluded as refusal:
            reduced = calls.without_excluded(request, refusal)
            if reduced is None:
                raise
            page = await self._fetch(reduced, priority, deadline, decode)
        return paging.only_session(page, session_id)

    async def fetch_call_records(
        self,
        ids: Sequence[RecordId],
        *,
        extension_id: ExtensionId | None = None,
        view: str = "Detailed",
        priority: Priority = Priority.RECONCILE,
        deadline: datetime | None = None,
    ) -> list[BulkItem]:
        """Return one item per id, in the same order. Takes one request per thirty ids, or per what the server
        allows.
        """
        found: list[BulkItem] = []
        rest = list(ids)
        while rest:
            chunk, sent_at = rest[: self._bulk_limit], self._clock.now()
            request = calls.call_records(chunk, extension_id=extension_id, view=view)
            try:
                found += await self._fetch(
                    request, priority, deadline, partial(records.decode_call_records, ids=chunk)
                )
            except TooManyIds as refusal:
                self._lower_bulk_limit(refusal, len(chunk))
                continue
            except RequestRefused as refusal:
                # A single id that does not exist is a plain 404; of several, each has a status of its own.
                if len(chunk) > 1 or refusal.status != 404:
                    raise
                found.append(BulkItem(id=chunk[0], sent_at=sent_at, status=404, why=refusal.code))
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
        """Return records of the whole account that changed since `token` or, without one, since `date_from`.

        None if the tenant has no extract sync. Raises SyncTokenRefused if the feed must be started again.
        Store the new token together with the records, not before.
        """
        response = await self._sender.send_or_404(
            calls.call_log_changes(token, date_from), priority, deadline
        )
        return await _decode(response, records.decode_sync) if response else None

    async def fetch_recording(
        self,
        recording_id: str,
        *,
        priority: Priority = Priority.METADATA,
        deadline: datetime | None = None,
    ) -> Recording | None:
        """Return a recording's metadata; None while it is not ready, and after it was purged."""
        response = await self._sender.send_or_404(recordings.recording(recording_id), priority, deadline)
        return recordings.decode_recording(response) if response else None

    def stream_recording(
        self,
        content_uri: str,
        *,
        byte_range: str | None = None,
        priority: Priority = Priority.CONTENT,
        deadline: datetime | None = None,
    ) -> AbstractAsyncContextManager[ContentStream]:
        """Open the audio of a recording at its `contentUri`, which must be on a configured host.

        The server may answer a range with 200, and a request without one with 206. A broken stream is not
        resumed: `chunks` raises RingCentralUnreachable. Raises RangeRefused for a range beyond the end.
        """
        return self._sender.stream(recordings.recording_content(content_uri, byte_range), priority, deadline)

    async def fetch_voicemail(
        self,
        extension_id: ExtensionId,
        message_id: str,
        *,
        priority: Priority = Priority.METADATA,
        deadline: datetime | None = None,
    ) -> Voicemail | None:
        """Return a voicemail of an extension; None while it is not there yet, and after it was purged.

        Takes a Light request. Only the extension's own user and administrators may read it.
        """
        request = voicemails.voicemail(extension_id, message_id)
        response = await self._sender.send_or_404(request, priority, deadline)
        return voicemails.decode_voicemail(response) if response else None

    async def fetch_transcript(
        self, address: str, *, priority: Priority = Priority.METADATA, deadline: datetime | None = None
    ) -> str | None:
        """Return the transcript at an attachment's address; None if there is none. Takes a Medium request."""
        request = voicemails.voicemail_content(address)
        response = await self._sender.send_or_404(request, priority, deadline)
        return voicemails.decode_transcript(response) if response else None

    def stream_voicemail(
        self,
        address: str,
        *,
        byte_range: str | None = None,
        priority: Priority = Priority.CONTENT,
        deadline: datetime | None = None,
    ) -> AbstractAsyncContextManager[ContentStream]:
        """Open the audio of a voicemail as `stream_recording` does. Takes a Medium request."""
        return self._sender.stream(voicemails.voicemail_content(address, byte_range), priority, deadline)

    async def fetch_session(
        self,
        telephony_session_id: TelephonySessionId,
        *,
        priority: Priority = Priority.POLL,
        deadline: datetime | None = None,
    ) -> TelephonySession | None:
        """Return a live telephony session; None if it is over. Takes no Heavy request."""
        response = await self._sender.send_or_404(
            calls.telephony_session(telephony_session_id), priority, deadline
        )
        return records.decode_session(response) if response else None

    async def fetch_session_insights(
        self,
        telephony_session_id: TelephonySessionId,
        *,
        priority: Priority = Priority.METADATA,
        deadline: datetime | None = None,
    ) -> tuple[Insights, ...] | None:
        """Return the insights of a call, one item per recording; None until there are any.

        Raises PermissionMissing or RequestRefused (403) without the licence, the scope or the permission.
        """
        request = insights.session_insights(telephony_session_id)
        response = await self._sender.send_or_404(request, priority, deadline)
        return insights.decode_session_insights(response, telephony_session_id) if response else None

    async def fetch_record_insights(
        self,
        recording_id: str,
        *,
        priority: Priority = Priority.METADATA,
        deadline: datetime | None = None,
    ) -> Insights | None:
        """Return the insights of one recording; otherwise like `fetch_session_insights`."""
        response = await self._sender.send_or_404(insights.record_insights(recording_id), priority, deadline)
        return insights.decode_record_insights(response, recording_id) if response else None

    async def list_subscriptions(self, *, deadline: datetime | None = None) -> tuple[Subscription, ...]:
        """Return all subscriptions of this user and app, those of other transports and services included."""
        response = await self._sender.send(subscriptions.list_subscriptions(), Priority.POLL, deadline)
        return subscriptions.decode_subscriptions(response)

    async def create_subscription(
        self,
        event_filters: Sequence[str],
        address: str,
        verification_token: str,
        expires_in_seconds: int,
        *,
        deadline: datetime | None = None,
    ) -> Subscription:
        """Create a webhook subscription. Check `disabled_filters` and `expiration_time` of the result.

        `address` must be served already: RingCentral responds only after a handshake with it. Not retried:
        after RingCentralUnreachable the subscription may exist, so list them before creating another.
        """
        request = subscriptions.create_subscription(
            event_filters, address, verification_token, expires_in_seconds
        )
        return subscriptions.decode_subscription(await self._sender.send(request, Priority.POLL, deadline))

    async def renew_subscription(
        self, subscription_id: str, *, deadline: datetime | None = None
    ) -> Subscription | None:
        """Renew a subscription; None if it has expired. Read its new `expiration_time`."""
        return await self._subscription(subscriptions.renew_subscription(subscription_id), deadline)

    async def update_subscription(
        self,
        subscription_id: str,
        event_filters: Sequence[str],
        expires_in_seconds: int | None = None,
        *,
        deadline: datetime | None = None,
    ) -> Subscription | None:
        """Set the filters and renew; None if the subscription has expired."""
        request = subscriptions.update_subscription(subscription_id, event_filters, expires_in_seconds)
        return await self._subscription(request, deadline)

    async def delete_subscription(self, subscription_id: str, *, deadline: datetime | None = None) -> bool:
        """Delete the subscription; False if there was none."""
        request = subscriptions.delete_subscription(subscription_id)
        return await self._sender.send_or_404(request, Priority.POLL, deadline) is not None

    async def _subscription(self, request: Request, deadline: datetime | None) -> Subscription | None:
        response = await self._sender.send_or_404(request, Priority.POLL, deadline)
        return subscriptions.decode_subscription(response) if response else None

    async def _fetch(
        self,
        request: Request,
        priority: Priority,
        deadline: datetime | None,
        decode: Callable[[Response], T],
    ) -> T:
        return await _decode(await self._sender.send(request, priority, deadline), decode)

    def _lower_bulk_limit(self, refusal: TooManyIds, requested: int) -> None:
        """Learn how many ids one request may have. Raises the refusal if no smaller number makes sense."""
        limit = refusal.limit if refusal.limit and refusal.limit < requested else requested // 2
        if limit < 1:
            raise refusal
        self._bulk_limit = limit


async def _decode(response: Response, decode: Callable[[Response], T]) -> T:
    """Decode a response, and log the records in it that cannot be read."""
    decoded = await decode_beside(response, decode)
    if isinstance(decoded, RecordsPage | RecordsSync) and decoded.bad:
        metrics.SET_ASIDE.labels(source="unreadable").inc(len(decoded.bad))
        reasons = sorted({item.why for item in decoded.bad})
        _log.warning(
            "records cannot be read", count=len(decoded.bad), why=reasons, request_id=response.request_id
        )
    return decoded
