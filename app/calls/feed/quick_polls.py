"""The short way of a long poll: `GET /v1/changes?wait=…&cursor=…` before FastAPI resolves parameters.

Every client of long polls asks again as soon as it has its response, and all of an account have it at the
same moment. Resolving the dependencies of their requests takes several times what is left to do. Whatever is
not plain (other parameters, `cursor=now`, anything invalid) takes the usual way, which also finds the words
for everything that is wrong.
"""

import re
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from app.api.auth import find_key_of
from app.api.dependencies import JsonResponse, Services
from app.api.known_keys import Key, Scope
from app.calls.feed.changes import ChangeFeed
from app.calls.feed.feeds import Feeds
from app.calls.feed.following import wait_for_changes
from app.calls.feed.parameters import DEFAULT_LIMIT, LONGEST_WAIT_SECONDS, MOST_CHANGES
from app.values.exact_json import write_json

_PATH = "/v1/changes"
_PLAIN = {
    b"cursor": re.compile(rb"[0-9]{1,19}(-[0-9a-f]{1,12})?"),
    b"limit": re.compile(rb"[0-9]{1,3}"),
    b"wait": re.compile(rb"[0-9]{1,2}(\.[0-9]{1,3})?"),
}

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


@dataclass(frozen=True, slots=True)
class LongPoll:
    """What a plain request asks for."""

    cursor: str
    limit: int
    seconds: float


def page_of(found: ChangeFeed) -> Response:
    """Return a part of the feed as a response. Each change is serialised once, however many wait for it."""
    body = b'{"data":[%b],"nextCursor":%b,"hasMore":%b}' % (
        b",".join(change.body for change in found.changes),
        write_json(str(found.after)),
        write_json(found.has_more),
    )
    return Response(body, media_type=JsonResponse.media_type)


class LongPollsFirst(APIRoute):
    """A route that tries the short way first, if it is the one of the feed."""

    def get_route_handler(self) -> Handler:
        usual = super().get_route_handler()
        if self.path_format != _PATH:
            return usual

        async def handle(request: Request) -> Response:
            return await _answer(request) or await usual(request)

        return handle


async def _answer(request: Request) -> Response | None:
    """Return the response if the short way leads to it."""
    asked = read_query(request.scope["query_string"])
    if asked is None:
        return None
    services: Services = request.app.state.services
    key = await find_key_of(request, services)
    if key is None or not key.allows(Scope.CALLS_READ):
        return None
    return page_of(await _wait(request.app.state.feeds, key, asked))


async def _wait(feeds: Feeds, key: Key, asked: LongPoll) -> ChangeFeed:
    return await wait_for_changes(
        feeds, key.account_id, asked.cursor, limit=asked.limit, seconds=asked.seconds, key=key
    )


def read_query(query: bytes) -> LongPoll | None:
    """Return what a query asks for; None if it is not a plain one."""
    pairs: Sequence[tuple[bytes, bytes, bytes]] = [part.partition(b"=") for part in query.split(b"&")]
    given = {name: value for name, _, value in pairs}
    if len(given) < len(pairs) or not {b"cursor", b"wait"} <= given.keys() <= _PLAIN.keys():
        return None
    if any(not _PLAIN[name].fullmatch(value) for name, value in given.items()):
        return None
    limit, seconds = int(given.get(b"limit", DEFAULT_LIMIT)), float(given[b"wait"])
    if not (1 <= limit <= MOST_CHANGES and 0 < seconds <= LONGEST_WAIT_SECONDS):
        return None
    return LongPoll(given[b"cursor"].decode("ascii"), limit, seconds)
