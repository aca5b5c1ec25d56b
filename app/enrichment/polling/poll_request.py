"""Requests the pages of one poll."""

from collections.abc import Sequence
from datetime import timedelta

from app.accounts.connections import Connection
from app.calls.store import Recent
from app.clock import Clock
from app.enrichment.polling.limits import PlannerLimits
from app.enrichment.polling.poll_response import PollResponse, decided_calls, match_recent
from app.enrichment.polling.targets import Target
from app.errors import RingCentralError
from app.ids import AccountId, RecordId
from app.ringcentral.models import CallRecord
from app.ringcentral.protocol.paging import wants_next_page

MOST_PAGES = 50


async def fetch_active_calls(
    clock: Clock,
    connection: Connection,
    target: Target,
    recent: Sequence[Recent],
    limits: PlannerLimits,
    page_size: int,
) -> PollResponse:
    """Read pages until every waiting call is found, and not one more. Records of another account are left
    out.

    Raises RingCentralError when there was no page at all.
    """
    missing = {call.call_id for call in recent if call.is_waiting}
    records: list[CallRecord] = []
    seen: set[RecordId] = set()
    sent_at = answered_at = clock.now()
    deadline = sent_at + timedelta(seconds=target.lease.seconds / 2)
    account_id: AccountId | None = None
    for number in range(1, MOST_PAGES + 1):
        try:
            page = await connection.client.fetch_active_calls_page(
                number, page_size, extension_id=connection.extension_id, deadline=deadline
            )
        except RingCentralError as error:
            if number == 1:
                raise
            return PollResponse(sent_at, answered_at, records, False, number, account_id, failure=error)
        answered_at = clock.now()
        # A response shows the state when its request was sent; later pages are no older.
        sent_at = page.sent_at if number == 1 else sent_at
        account_id = account_id or page.account_id
        if account_id not in (None, target.account_id):
            return PollResponse(sent_at, answered_at, [], False, number, account_id)
        has_next = wants_next_page(number, page, seen)
        records += [record for record in page.records if record.id not in seen]
        seen |= {record.id for record in page.records}
        missing -= decided_calls(match_recent(records, recent), recent, sent_at, limits).keys()
        if not has_next or not missing:
            return PollResponse(sent_at, answered_at, records, not has_next, number, account_id)
    return PollResponse(sent_at, answered_at, records, False, MOST_PAGES, account_id)
