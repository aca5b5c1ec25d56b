"""A RingCentral that costs next to nothing: it answers Active Calls of many accounts, on loopback.

It runs in the process of the benchmark, and notes when each request came. The account is that of the token.
"""

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

RESPONSE_SECONDS = 0.2
"""About as long as RingCentral takes."""

_BEARER = b"authorization: bearer "
_TOKEN = "token-of-"


def token_of(account_id: str) -> str:
    """Return the access token of an account."""
    return f"{_TOKEN}{account_id}"


@dataclass(slots=True)
class Platform:
    """What is visible, and what was requested: `polls` has the times of requests by account."""

    port: int = 0
    polls: dict[str, list[datetime]] = field(default_factory=lambda: defaultdict(list))
    others: int = 0
    _records: dict[str, list[tuple[datetime, dict[str, Any]]]] = field(
        default_factory=lambda: defaultdict(list)
    )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def show(self, account_id: str, record: dict[str, Any], visible_at: datetime) -> None:
        """Let Active Calls have a record from `visible_at` on."""
        self._records[account_id].append((visible_at, record))

    def answer(self, target: str, account_id: str) -> tuple[int, Mapping[str, Any]]:
        """Return status and body for a request."""
        now = datetime.now(UTC)
        path = target.partition("?")[0]
        if not path.endswith("/active-calls"):
            self.others += 1
            return (200, self._page(account_id, [])) if path.endswith("/call-log") else (404, {})
        self.polls[account_id].append(now)
        since = now - timedelta(seconds=120)
        shown = [record for at, record in self._records[account_id] if since <= at <= now]
        return 200, self._page(account_id, shown)

    def _page(self, account_id: str, records: list[dict[str, Any]]) -> Mapping[str, Any]:
        return {
            "uri": f"{self.url}/restapi/v1.0/account/{account_id}/active-calls?page=1",
            "records": records,
            "paging": {"page": 1, "perPage": 1000},
            "navigation": {},
        }


class _Exchange(asyncio.Protocol):
    """One connection: requests without bodies, one after the other."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        while b"\r\n\r\n" in self._received:
            head, _, self._received = self._received.partition(b"\r\n\r\n")
            lines = head.split(b"\r\n")
            target = lines[0].split(b" ")[1].decode()
            token = next((one[len(_BEARER) :] for one in lines if one.lower().startswith(_BEARER)), b"")
            status, body = self._platform.answer(target, token.decode().removeprefix(_TOKEN))
            asyncio.get_running_loop().call_later(RESPONSE_SECONDS, self._send, status, body)

    def _send(self, status: int, body: Mapping[str, Any]) -> None:
        encoded = json.dumps(body).encode()
        rates = "X-Rate-Limit-Group: heavy\r\nX-Rate-Limit-Limit: 10\r\nX-Rate-Limit-Window: 60\r\n"
        head = f"HTTP/1.1 {status} -\r\n{rates}Content-Type: application/json\r\n"
        self._transport.write(f"{head}Content-Length: {len(encoded)}\r\n\r\n".encode() + encoded)


@asynccontextmanager
async def platform() -> AsyncIterator[Platform]:
    """Serve while the block runs."""
    made = Platform()
    server = await asyncio.get_running_loop().create_server(lambda: _Exchange(made), "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
