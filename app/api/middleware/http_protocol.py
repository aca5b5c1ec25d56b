"""HTTP protocol with a time limit per request and a size limit for its head.

uvicorn limits neither. A client that opens many connections and sends a byte now and then (slowloris), or an
endless header, would exhaust them.
"""

import asyncio
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.api.problems import MEDIA_TYPE, ProblemCode, problem_body
from app.errors import HeadersTooLarge
from app.values.exact_json import write_json

LARGEST_HEAD_BYTES = 262_144
"""A head above this size is not even collected; `request_limits` refuses much smaller ones."""

_LINGER_SECONDS = 2.0
_MOST_DISCARDED_BYTES = 4 * 1_048_576


class PatientProtocol(HttpToolsProtocol):
    """One connection. `request_seconds`: from the first byte of a request to the last byte of its body."""

    request_seconds = 20.0

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self._in_head = True
        self._is_complete = True
        self._is_refused = False
        self._head_bytes = self._discarded_bytes = 0
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._is_refused:
            # The response is on its way. What still arrives is discarded: closing at once would reset the
            # connection before the client has read the response.
            self._discarded_bytes += len(data)
            if self._discarded_bytes > _MOST_DISCARDED_BYTES:
                self.transport.abort()
            return
        self._is_complete = False
        if self._in_head:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._in_head and self._head_bytes > LARGEST_HEAD_BYTES:
            self._refuse(
                HeadersTooLarge.kind, f"The head of a request must be at most {LARGEST_HEAD_BYTES} bytes"
            )
        elif self._is_complete:
            self._stop_timer()
        elif self._timer is None and not self.transport.is_closing():
            # Nearly all requests arrive in one piece and never get here.
            self._start_timer()

    def on_message_begin(self) -> None:
        self._in_head, self._is_complete = True, False
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_head, self._head_bytes = False, 0
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._in_head, self._is_complete = True, True
        super().on_message_complete()

    def _start_timer(self) -> None:
        self._timer = self.loop.call_later(self.request_seconds, self._run_out)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _run_out(self) -> None:
        self._timer = None
        if self.flow.read_paused:
            self._start_timer()  # we have paused reading; the client is not slow
        elif self._is_complete:
            self.transport.close()  # a connection without a request
        else:
            self._refuse(
                ProblemCode.REQUEST_TIMEOUT,
                f"The request did not arrive within {self.request_seconds:g} seconds",
            )

    def _refuse(self, code: str, detail: str) -> None:
        """Send a problem, unless a response has started, and close the connection."""
        self._is_refused = True
        self._stop_timer()
        cycle = self.cycle
        if cycle is None or cycle.response_complete or not cycle.response_started:
            path = "" if self._in_head else str(self.scope.get("path", ""))
            self.transport.write(_response(problem_body(path, code, detail)))
            if cycle is not None and not cycle.response_complete:
                # The route that waits for the rest of the body must not wait indefinitely.
                cycle.disconnected = True
                cycle.message_event.set()
        self.loop.call_later(_LINGER_SECONDS, self.transport.close)


def patient_protocol(request_seconds: float) -> type[PatientProtocol]:
    """Return the protocol with another time limit."""
    return type("PatientProtocol", (PatientProtocol,), {"request_seconds": request_seconds})


def _response(problem: dict[str, Any]) -> bytes:
    body, status = write_json(problem), HTTPStatus(problem["status"])
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: {MEDIA_TYPE}\r\n"
        f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
    )
    return head.encode() + body
