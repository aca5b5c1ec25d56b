"""Which changes a reader of the feed wants: by their types, and by who made them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from fastapi import Depends, Query

from app.api.auth import CallsReader
from app.calls.feed.catalogue import CHANGE_TYPES
from app.calls.feed.changes import ChangeFeed, FeedEntry
from app.errors import BadInput

_NAMES = tuple(one.name for one in CHANGE_TYPES)
_WORDS = tuple(sorted({name.partition(".")[0] for name in _NAMES}))


@dataclass(frozen=True, slots=True)
class Selection:
    """The types that are wanted, None for all; and the key whose changes are not."""

    types: frozenset[str] | None = None
    without_key: str | None = None

    def keeps(self, entry: FeedEntry) -> bool:
        """Whether a change is wanted."""
        shown = entry.shown
        is_wanted = self.types is None or shown["type"] in self.types
        return is_wanted and (self.without_key is None or shown["data"].get("keyId") != self.without_key)

    def apply(self, feed: ChangeFeed) -> ChangeFeed:
        """Return what is wanted of a part of the feed. Its end stays: what is left out is passed."""
        if self.types is None and self.without_key is None:
            return feed
        return ChangeFeed([one for one in feed.changes if self.keeps(one)], feed.after, feed.has_more)


EVERYTHING = Selection()


def expand(patterns: Sequence[str]) -> frozenset[str]:
    """Return the types that the patterns name: a type, or a word and `.*`.

    Raises BadInput for a pattern that names none.
    """
    found: set[str] = set()
    for pattern in patterns:
        word, _, rest = pattern.partition(".")
        named = [name for name in _NAMES if name == pattern or (rest == "*" and name.startswith(f"{word}."))]
        if not named:
            words = ", ".join(f"{one}.*" for one in _WORDS)
            raise BadInput(
                f"{pattern!r} names no type of change. There are {words}, and the types that the API's "
                "description lists",
                parameter="types",
            )
        found.update(named)
    return frozenset(found)


async def selection(
    key: CallsReader,
    types: Annotated[
        list[str],
        Query(
            max_length=50,
            description="The types of changes to return, such as `call.final` or `note.*`; repeat it for "
            "several. Without it, all.",
            examples=[["call.bootstrapped", "recording.*"]],
        ),
    ] = [],  # noqa: B006
    exclude: Annotated[
        Literal["own"] | None,
        Query(description="`own`: without the changes that were made with this API key."),
    ] = None,
) -> Selection:
    """The selection that a request asks for."""
    return Selection(expand(types) if types else None, key.key_id if exclude else None)


Wanted = Annotated[Selection, Depends(selection)]
