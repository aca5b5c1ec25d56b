"""RingCentral as the background work sees it: what a test puts in comes out, page by page.

Counts every request.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, cast

import httpx

from app.accounts.connections import Connection, Connections
from app.accounts.credentials import CredentialRow
from app.clock import Clock
from app.db.engine import Database
from app.ids import AccountId
from app.ringcentral.client import RingCentralClient
from app.ringcentral.models import (
    BulkItem,
    CallRecord,
    Insights,
    Recording,
    RecordsPage,
    RecordsSync,
    Subscription,
    TelephonySession,
    Voicemail,
    read_call_record,
    read_insights,
    read_subscription,
    read_voicemail,
)
from app.ringcentral.stored_tokens import StoredToken
from app.settings import Settings
from app.vault import Vault
from tests.factories_calls import ACCOUNT
from tests.fakes.clock import START


class FakeRingCentral:
    """Set `active`, `log` and `sessions`; `failure` is raised by the next request of any kind, one of
    `failures` by the next that `asked` calls so."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.active: list[dict[str, Any]] = []
        self.log: list[dict[str, Any]] = []
        self.sessions: set[str] = set()
        self.insights: list[dict[str, Any]] = []
        self.recordings: dict[str, Recording] = {}
        self.voicemails: dict[str, dict[str, Any]] = {}
        self.transcripts: dict[str, str] = {}
        self.subscriptions: list[dict[str, Any]] = []
        self.failure: Exception | None = None
        self.failures: dict[str, Exception] = {}
        self.create_failure: Exception | None = None
        self.has_feed = False
        self.filters: list[str] = []
        self.account_id = AccountId(ACCOUNT)
        self.asked: list[str] = []
        self.page_size: int | None = None
        self.repeats_pages = False
        self.scopes: tuple[str, ...] = ()
        self.lifetime_end = datetime.fromisoformat("2026-03-17T18:07:41+00:00")

    @property
    def client(self) -> RingCentralClient:
        return cast("RingCentralClient", self)

    def _note(self, what: str) -> None:
        self.asked.append(what)
        failure, self.failure = self.failures.pop(what, None) or self.failure, None
        if failure is not None:
            raise failure

    def _page(self, rows: Sequence[dict[str, Any]], page: int, per_page: int) -> RecordsPage:
        size = self.page_size or per_page
        start = 0 if self.repeats_pages else (page - 1) * size
        return RecordsPage(
            sent_at=self._clock.now(),
            records=tuple(_record(row) for row in rows[start : start + size]),
            page=1 if self.repeats_pages else page,
            per_page=size,
            has_next=start + size < len(rows),
            account_id=self.account_id,
        )

    async def fetch_active_calls_page(
        self, page: int, per_page: int, *, extension_id: str | None = None, **_: Any
    ) -> RecordsPage:
        self._note(f"active-calls {page}" + (f" of {extension_id}" if extension_id else ""))
        return self._page(self.active, page, per_page)

    async def fetch_call_log_by_session(self, session_id: str, **_: Any) -> RecordsPage:
        self._note(f"session {session_id}")
        return self._page([row for row in self.log if row.get("sessionId") == session_id], 1, 100)

    async def fetch_call_log_window(
        self, date_from: datetime, date_to: datetime, *, page: int = 1, per_page: int = 1000, **_: Any
    ) -> RecordsPage:
        self._note("window" if page == 1 else f"window page {page}")
        rows = [row for row in self.log if date_from <= datetime.fromisoformat(row["startTime"]) <= date_to]
        return self._page(rows, page, per_page)

    async def fetch_recording(self, recording_id: str, **_: Any) -> Recording | None:
        self._note(f"recording {recording_id}")
        return self.recordings.get(recording_id)

    async def fetch_voicemail(self, extension_id: str, message_id: str, **_: Any) -> Voicemail | None:
        self._note(f"voicemail {message_id} of {extension_id}")
        return read_voicemail(self.voicemails.get(message_id))

    async def fetch_transcript(self, address: str, **_: Any) -> str | None:
        self._note("transcript")
        return self.transcripts.get(address)

    async def fetch_call_records(self, ids: Sequence[str], **_: Any) -> list[BulkItem]:
        self._note(f"records {','.join(ids)}")
        by_id = {row["id"]: row for row in self.log}
        return [
            BulkItem(id=cast("Any", one), sent_at=self._clock.now(), status=200, record=_record(by_id[one]))
            if one in by_id
            else BulkItem(id=cast("Any", one), sent_at=self._clock.now(), status=404)
            for one in ids
        ]

    async def fetch_call_log_changes(
        self, token: str | None, date_from: datetime | None = None, **_: Any
    ) -> RecordsSync | None:
        """The feed: `log` in the order of `changed` (a number that the test gives each row); a token is such
        a number.

        A date is compared with `lastModifiedTime`, where a row has it.
        """
        self._note("changes" if token else "changes from the start")
        if not self.has_feed:
            return None
        seen = int(token or 0)
        since = date_from.isoformat() if date_from else ""
        rows = [
            row for row in self.log if row["changed"] > seen and row.get("lastModifiedTime", since) >= since
        ]
        rows.sort(key=lambda row: int(row["changed"]))
        shown = rows[: self.page_size or len(rows)]
        last = shown[-1]["changed"] if shown else seen
        return RecordsSync(
            sent_at=self._clock.now(),
            records=tuple(_record(row) for row in shown),
            token=str(last),
            has_newer=len(shown) < len(rows),
            account_id=self.account_id,
        )

    async def fetch_session(self, telephony_session_id: str, **_: Any) -> TelephonySession | None:
        self._note("telephony session")
        known = telephony_session_id in self.sessions
        return TelephonySession(id=cast("Any", telephony_session_id), raw={}) if known else None

    async def fetch_session_insights(self, session_id: str, **_: Any) -> tuple[Insights, ...] | None:
        self._note(f"insights {session_id}")
        found = (read_insights(row) for row in self.insights if row.get("sourceSessionId") == session_id)
        return tuple(item for item in found if item) or None

    async def fetch_record_insights(self, recording_id: str, **_: Any) -> Insights | None:
        self._note(f"insights of {recording_id}")
        found = (read_insights(row) for row in self.insights if row.get("sourceRecordId") == recording_id)
        return next((item for item in found if item), None)

    async def fetch_token(self) -> StoredToken:
        self._note("token")
        return StoredToken(
            access_token="t",
            issued_at=START,
            expires_at=START,
            fingerprint="f",
            owner_id="711000101",
            scopes=self.scopes,
        )

    async def list_subscriptions(self, **_: Any) -> tuple[Subscription, ...]:
        self._note("list")
        return tuple(_subscription(row) for row in self.subscriptions)

    async def create_subscription(
        self, filters: Sequence[str], address: str, token: str, expires_in: int, **_: Any
    ) -> Subscription:
        self._note("create")
        failure, self.create_failure = self.create_failure, None
        if failure is not None:
            raise failure
        self.filters = list(filters)
        row = subscription_row(
            f"sub-{len(self.asked)}", address=address, filters=filters, until=self.lifetime_end
        )
        self.subscriptions.append(row)
        return _subscription(row)

    async def renew_subscription(self, subscription_id: str, **_: Any) -> Subscription | None:
        self._note("renew")
        for row in self.subscriptions:
            if row["id"] == subscription_id:
                row["expirationTime"] = self.lifetime_end.isoformat()
                return _subscription(row)
        return None

    async def update_subscription(
        self, subscription_id: str, filters: Sequence[str], *_: Any, **__: Any
    ) -> Subscription | None:
        self._note("update")
        for row in self.subscriptions:
            if row["id"] == subscription_id:
                row["eventFilters"] = list(filters)
                return _subscription(row)
        return None

    async def delete_subscription(self, subscription_id: str, **_: Any) -> bool:
        self._note(f"delete {subscription_id}")
        self.subscriptions = [row for row in self.subscriptions if row["id"] != subscription_id]
        return True


def subscription_row(
    subscription_id: str, *, address: str, filters: Sequence[str], until: datetime, status: str = "Active"
) -> dict[str, Any]:
    """A subscription as RingCentral answers it."""
    return {
        "id": subscription_id,
        "status": status,
        "eventFilters": [item.replace("~", ACCOUNT, 1) for item in filters],
        "expirationTime": until.isoformat(),
        "deliveryMode": {"transportType": "WebHook", "address": address},
    }


def _record(row: dict[str, Any]) -> CallRecord:
    record = read_call_record(row)
    assert isinstance(record, CallRecord)
    return record


def _subscription(row: dict[str, Any]) -> Subscription:
    subscription = read_subscription(row)
    assert subscription is not None
    return subscription


class FakeConnections(Connections):
    """The real connections, but for what is at their other end: every connection's client is the fake one."""

    def __init__(
        self, ringcentral: FakeRingCentral, settings: Settings, database: Database, clock: Clock
    ) -> None:
        vault = Vault("0123456789abcdef0123456789abcdef")
        nowhere = httpx.AsyncClient(transport=httpx.MockTransport(lambda _: httpx.Response(599)))
        super().__init__(settings, database, clock, vault, nowhere, replica="test")
        self._ringcentral = ringcentral

    def _open(self, row: CredentialRow) -> Connection | None:
        made = super()._open(row)
        return made and replace(made, client=self._ringcentral.client)
