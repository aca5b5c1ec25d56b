"""Responses that carry call records: a page, a sync, one item of a bulk read.

Each describes the state at `sent_at`, when its request left, or later.
"""

from dataclasses import dataclass
from datetime import datetime

from app.ids import AccountId, RecordId
from app.ringcentral.models.records import BadRecord, CallRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordsPage:
    """One page of Active Calls or of the Call Log, in RingCentral's order (newest start first).

    `page` and `per_page` are those of the response, which may differ from the request. `has_next` is only the
    presence of `nextPage`: `lastPage` misleads. `account_id` is read from the addresses in the response.
    """

    sent_at: datetime
    records: tuple[CallRecord, ...] = ()
    bad: tuple[BadRecord, ...] = ()
    page: int | None = None
    per_page: int | None = None
    has_next: bool = False
    account_id: AccountId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordsSync:
    """One page of the change feed: new and changed records, and the `token` to continue from.

    Store the token together with the records, not before. An older token may be used again.
    """

    sent_at: datetime
    records: tuple[CallRecord, ...] = ()
    bad: tuple[BadRecord, ...] = ()
    token: str
    has_newer: bool = False
    account_id: AccountId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkItem:
    """The outcome of one id of a bulk read: the record, or the status (404: not known yet) and why there is
    none.
    """

    id: RecordId
    sent_at: datetime
    status: int | None = None
    record: CallRecord | None = None
    why: str | None = None

    @property
    def is_missing(self) -> bool:
        return self.status == 404
