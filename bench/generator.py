"""The load generator: a process of its own that keeps n connections busy and times every request.

`python -m bench.generator` reads a `Load` as JSON from standard input and writes a `Measured`. Bare sockets
and epoll: it costs some 15 us a request, several times less than any handler that it measures, and treats all
handlers alike. Every connection has one request under way at any time (closed loop, keep-alive).
"""

import gc
import json
import select
import socket
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass, field

from bench import notifications

_DRAIN_SECONDS = 10.0
_LONGEST_ANSWER = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What to send: `warm_up_seconds` are not measured, yet their requests count as accepted."""

    port: int
    path: str
    token: str
    connections: int
    seconds: float
    warm_up_seconds: float
    first: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What came back. `accepted` counts every 200, the rest only what was answered in the measured time.

    `busy` is the share of the time in which the generator computed; near 1 it would be the bottleneck.
    """

    accepted: int
    refused: dict[str, int]
    rate: float
    p50_ms: float | None
    p99_ms: float | None
    busy: float | None


@dataclass(slots=True)
class _Peer:
    socket: socket.socket
    sent_at: float = 0.0
    received: bytes = b""


@dataclass(slots=True)
class _Tally:
    accepted: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)


def run(load: Load) -> Measured:
    """Send for as long as the load says, wait for the last answers, and tell."""
    tally, peers = _Tally(), {}
    requests = _Requests(load)
    poll = select.epoll()
    for _ in range(load.connections):
        peer = _Peer(socket.create_connection(("127.0.0.1", load.port)))
        peer.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        peer.socket.setblocking(False)
        peers[peer.socket.fileno()] = peer
        poll.register(peer.socket, select.EPOLLIN)
    begin = time.perf_counter()
    measure_from, end = begin + load.warm_up_seconds, begin + load.warm_up_seconds + load.seconds
    computed = time.process_time()
    for peer in peers.values():
        requests.send(peer)
    waiting = len(peers)
    while waiting and time.perf_counter() < end + _DRAIN_SECONDS:
        for number, _ in poll.poll(0.1):
            peer = peers[number]
            status = _receive(peer)
            if status is None:
                continue
            now = time.perf_counter()
            _count(tally, status, now - peer.sent_at if measure_from <= now < end else None)
            if now < end and status:
                requests.send(peer)
            else:
                waiting -= 1
                poll.unregister(peer.socket)
    computed = time.process_time() - computed
    if waiting:
        tally.refused["no answer"] += waiting
    for peer in peers.values():
        peer.socket.close()
    return _summary(tally, load, computed / (time.perf_counter() - begin))


class _Requests:
    """Sends one notification after the other; no two are alike."""

    def __init__(self, load: Load) -> None:
        self._bodies = notifications.bodies(load.first)
        self._head = (
            f"POST {load.path} HTTP/1.1\r\nHost: 127.0.0.1:{load.port}\r\nAccept: application/json\r\n"
            "Content-Type: application/json; charset=UTF-8\r\nUser-Agent: RingCentral-Webhook/8.3\r\n"
            f"Verification-Token: {load.token}\r\nContent-Length: "
        ).encode()

    def send(self, peer: _Peer) -> None:
        body = next(self._bodies)
        request = b"%b%d\r\n\r\n%b" % (self._head, len(body), body)
        peer.sent_at = time.perf_counter()
        if peer.socket.send(request) != len(request):
            raise OSError("the socket did not take a request of 2 KB at once")


def _receive(peer: _Peer) -> str | None:
    """Return the status of an answer that is complete, "" when the other side hung up, None when more has to
    come."""
    try:
        chunk = peer.socket.recv(_LONGEST_ANSWER)
    except OSError:
        return ""
    if not chunk:
        return ""
    answer = peer.received + chunk
    if not _is_complete(answer):
        peer.received = answer
        return None
    peer.received = b""
    return answer[9:12].decode()


def _is_complete(answer: bytes) -> bool:
    head, end, body = answer.partition(b"\r\n\r\n")
    if not end:
        return False
    _, found, rest = head.lower().partition(b"\r\ncontent-length:")
    return len(body) >= (int(rest.partition(b"\r\n")[0]) if found else 0)


def _count(tally: _Tally, status: str, latency: float | None) -> None:
    if status != "200":
        tally.refused[status or "hung up"] += 1
        return
    tally.accepted += 1
    if latency is not None:
        tally.latencies.append(latency)


def _summary(tally: _Tally, load: Load, busy: float) -> Measured:
    ordered = sorted(tally.latencies)
    return Measured(
        accepted=tally.accepted,
        refused=dict(tally.refused),
        rate=len(ordered) / load.seconds,
        p50_ms=_percentile_ms(ordered, 0.50),
        p99_ms=_percentile_ms(ordered, 0.99),
        busy=busy,
    )


def _percentile_ms(ordered: list[float], share: float) -> float | None:
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000 if ordered else None


if __name__ == "__main__":
    gc.disable()
    json.dump(asdict(run(Load(**json.load(sys.stdin)))), sys.stdout)
