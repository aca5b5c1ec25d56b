"""Cursors of lists of calls.

A cursor contains the position of the last call that was looked at, a digest of the filters and the order that
it belongs to, and the end of the feed at that time. It is not secret and needs no signature: whatever
position it contains, the account is always that of the key.
"""

import base64
import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from pydantic_core import from_json, to_json

from app.api.timestamps import check_year
from app.calls.feed.positions import BEGINNING, Position
from app.calls.listing.filters import ListQuery, Order
from app.errors import BadInput
from app.ids import AccountId

_VERSION = 2
_VERSION_WITHOUT_END = 1
"""Cursors of earlier versions do not contain the end of the feed, so they are not checked against it."""
_LARGEST_SEQ = 2**63 - 1
_OF_ALL_PAGES = set(ListQuery.model_fields) - {"limit", "cursor"}
"""What all pages share. What is shown of each call may differ."""


def digest_of(account_id: AccountId, query: ListQuery) -> str:
    """Return the digest of what all pages of a list share."""
    same = query.model_dump(mode="json", include=_OF_ALL_PAGES, exclude_defaults=True)
    return hashlib.sha256(to_json([account_id, query.order, sorted(same.items())])).hexdigest()[:16]


def write_cursor(digest: str, place: Sequence[Any], end: Position) -> str:
    """Return the cursor after a place, the values of the order's columns.

    `end`: of the feed, which identifies the history of the database.
    """
    written = [value.isoformat() if isinstance(value, datetime) else value for value in place]
    return base64.urlsafe_b64encode(to_json([_VERSION, digest, str(end), *written])).decode().rstrip("=")


def read_cursor(cursor: str, digest: str, order: Order) -> tuple[list[Any], Position]:
    """Return the values of the order's columns in a cursor, and the end of the feed.

    Raises BadInput if it is invalid or belongs to other filters or another order.
    """
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        version, of, *place = from_json(base64.b64decode(padded, altchars=b"-_", validate=True))
        end = BEGINNING if version == _VERSION_WITHOUT_END else Position.parse(place.pop(0))
        is_ours = of == digest and version in {_VERSION_WITHOUT_END, _VERSION}
        values = _read_place(place, order) if is_ours else None
    except (ValueError, TypeError, AttributeError, IndexError) as error:
        raise BadInput("The cursor is invalid. Start again without it.", parameter="cursor") from error
    if values is None:
        raise BadInput(
            "The cursor belongs to other filters or another order. Repeat those of the previous page, or "
            "start again without it.",
            parameter="cursor",
        )
    return values, end


def _read_place(place: list[Any], order: Order) -> list[Any]:
    if order.by == "updatedAt":
        (seq,) = place
        # `type`, because a bool is an instance of int.
        if type(seq) is not int or not 0 <= seq <= _LARGEST_SEQ:
            raise ValueError("not a number of the timeline")
        return [seq]
    at, call_id = place
    if not call_id.isascii() or not call_id.isprintable():
        raise ValueError("not an id")
    return [check_year(datetime.fromisoformat(at)).astimezone(UTC), call_id]
