"""Writes the items of a batch in one transaction, by the same functions as the routes for one attachment.

Whatever refuses an item is found before anything of it is written, so a refused item leaves nothing behind
and the others are kept.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.calls.attachments import store
from app.calls.attachments.batch.inputs import InvalidItem, ReadItem
from app.calls.attachments.sentiments import set_sentiment
from app.calls.attachments.store import WriteResult
from app.calls.attachments.stored import DISPOSITION, LINK
from app.calls.attachments.subjects import Subject, load_subjects
from app.calls.ledger import Ledger
from app.errors import CallerError

Unread = InvalidItem | CallerError


@dataclass(frozen=True, slots=True)
class ItemResult:
    """What became of an item. `overruled_by`: see `SentimentWritten`."""

    kind: str
    written: WriteResult
    overruled_by: Mapping[str, Any] | None = None


async def write_items(ledger: Ledger, items: Sequence[ReadItem | Unread]) -> list[ItemResult | Unread]:
    """Write what could be read, in the order of the request; return what became of each item."""
    names = [one.item.call for one in items if isinstance(one, ReadItem)]
    subjects = await load_subjects(ledger, names)
    results: list[ItemResult | Unread] = []
    for one in items:
        if not isinstance(one, ReadItem):
            results.append(one)
            continue
        subject = subjects[one.item.call]
        results.append(subject if isinstance(subject, CallerError) else await _write(ledger, subject, one))
    return results


async def _write(ledger: Ledger, subject: Subject, read: ReadItem) -> ItemResult:
    item = read.item
    if read.note is not None:
        return ItemResult(item.kind, await store.write_note(ledger, subject, read.note))
    if item.sentiment is not None:
        done = await set_sentiment(ledger, subject, item.sentiment.source, item.sentiment)
        return ItemResult(item.kind, done.result, done.overruled_by)
    if item.link is not None:
        slot, content = {"crm": item.link.crm}, item.link.columns()
        return ItemResult(item.kind, await store.fill(ledger, LINK, subject, slot, content))
    assert item.disposition is not None  # noqa: S101 - an item has one of the four
    content = item.disposition.columns()
    return ItemResult(item.kind, await store.fill(ledger, DISPOSITION, subject, {}, content))
