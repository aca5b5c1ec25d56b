"""Sets, finds and removes sentiments, of which each source can have a person's and a machine's for a call."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from app.calls.attachments import store
from app.calls.attachments.inputs import SentimentIn
from app.calls.attachments.preconditions import ANY_STATE, Precondition
from app.calls.attachments.rules.sentiments import Maker, choose, maker_of
from app.calls.attachments.store import WriteResult
from app.calls.attachments.stored import SENTIMENT, StoredAttachment
from app.calls.attachments.subjects import Subject
from app.calls.ledger import Ledger
from app.errors import NotFound
from app.ids import AccountId


@dataclass(frozen=True, slots=True)
class SentimentWritten:
    """A sentiment after a write. `overruled_by`: the person's that counts instead, as the API shows it."""

    result: WriteResult
    overruled_by: Mapping[str, Any] | None = None


async def set_sentiment(
    ledger: Ledger,
    subject: Subject,
    source: str,
    sentiment: SentimentIn,
    precondition: Precondition = ANY_STATE,
) -> SentimentWritten:
    """Set the sentiment of a source and its maker. Raises PreconditionFailed."""
    slot = sentiment.slot(source)
    result = await store.fill(ledger, SENTIMENT, subject, slot, sentiment.columns(), precondition)
    if slot["made_by"] == Maker.PERSON:
        return SentimentWritten(result)
    present = await store.load_of_subject(ledger.db, ledger.account_id, SENTIMENT, subject.key)
    chosen = choose(one.to_json() for one in present)
    overruled = chosen is not None and chosen["madeBy"] == Maker.PERSON
    return SentimentWritten(result, chosen if overruled else None)


async def load_sentiment(
    db: AsyncConnection, account_id: AccountId, call: str, source: str, made_by: Maker | None
) -> StoredAttachment:
    """Return the sentiment of a source: of this maker, otherwise the person's before the machine's.

    Raises AmbiguousCall, NotFound, Unprocessable.
    """
    found = await store.find_all(db, account_id, SENTIMENT, call)
    for maker in (made_by,) if made_by else (Maker.PERSON, Maker.MACHINE):
        for one in found:
            if one.slot == (source, maker):
                return one
    raise NotFound(f"The call {call} has no such sentiment")


async def remove_sentiment(
    ledger: Ledger, call: str, source: str, made_by: Maker | None, precondition: Precondition
) -> None:
    """Remove the sentiment of a source: of this maker, otherwise of the one that the source implies.

    Raises AmbiguousCall, NotFound, Unprocessable, PreconditionFailed.
    """
    slot = {"source": source, "made_by": maker_of(source, made_by).value}
    await store.remove(ledger, SENTIMENT, call, slot, precondition)
