"""The limit of followers: bytes from memory for as many streams and long polls, and nothing decided.

A bare ASGI app on uvicorn that speaks as much of the feed as `followers` asks for. It has no database, no
keys, no parameters and no middleware: what it needs for a change is what uvicorn and the sockets need.
"""

import asyncio
import os
from collections import defaultdict
from typing import Any
from urllib.parse import parse_qs

_CHANGE = os.environ["BENCH_CHANGE"].encode()
_STREAM = ((b"content-type", b"text/event-stream"),)
_JSON = b"application/json"


class _Feed:
    """The changes of those who send one key."""

    def __init__(self) -> None:
        self.seq = 0
        self.next = asyncio.Event()

    def change(self) -> None:
        self.seq += 1
        woken, self.next = self.next, asyncio.Event()
        woken.set()


_feeds: dict[bytes, _Feed] = defaultdict(_Feed)


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answer one request."""
    if scope["type"] != "http":
        return
    feed = _feeds[dict(scope["headers"]).get(b"authorization", b"")]
    if scope["path"] == "/v1/changes/stream":
        await _stream(feed, send)
        return
    body = b"{}"
    if scope["path"] == "/v1/changes":
        body = await _poll(feed, parse_qs(scope["query_string"].decode()))
    elif scope["method"] == "PUT":
        feed.change()
    headers = ((b"content-type", _JSON), (b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _stream(feed: _Feed, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": _STREAM})
    piece, seq = b": following\n\n", feed.seq
    while True:
        await send({"type": "http.response.body", "body": piece, "more_body": True})
        while feed.seq == seq:
            await feed.next.wait()
        seq = feed.seq
        piece = b"event: call.updated\ndata: %b\nid: %d\n\n" % (_CHANGE, seq)


async def _poll(feed: _Feed, query: dict[str, list[str]]) -> bytes:
    changes = b""
    if "wait" in query:
        while feed.seq == int(query["cursor"][0]):
            await feed.next.wait()
        changes = _CHANGE
    return b'{"data":[%b],"nextCursor":"%d","hasMore":false}' % (changes, feed.seq)
