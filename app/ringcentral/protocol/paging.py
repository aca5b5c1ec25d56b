"""Whether to request the next page, and which records of a page to use. Pure."""

from collections.abc import Collection
from dataclasses import replace

from app.ids import RecordId, SessionId
from app.ringcentral.models import RecordsPage


def wants_next_page(requested: int, page: RecordsPage, seen_ids: Collection[RecordId]) -> bool:
    """Whether to request page `requested + 1`. `seen_ids` are the ids of the pages before this one."""
    return page.has_next and not is_repeated_page(requested, page, seen_ids)


def is_repeated_page(requested: int, page: RecordsPage, seen_ids: Collection[RecordId]) -> bool:
    """Whether this is not the page that was requested, or has no new record.

    A server that ignores `page` returns page 1 every time.
    """
    if page.page is not None and page.page != requested:
        return True
    if not page.records:
        return requested > 1
    return all(record.id in seen_ids for record in page.records)


def only_session(page: RecordsPage, session_id: SessionId) -> RecordsPage:
    """Drop records of other sessions: a server ignores a filter that it does not know."""
    return replace(page, records=tuple(record for record in page.records if record.session_id == session_id))
