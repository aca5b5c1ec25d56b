"""The connectors of `examples/` write a call once into a CRM that stores it and then gives no answer."""

import json
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from app.push.payloads.signatures import headers_of, secret_key
from tests.cluster import free_port
from tests.e2e.sandbox import LONGEST_SECONDS
from tests.e2e.test_example_connectors import COMMANDS, EXAMPLES, Kept, written

CALL = "call_01jp0v7s4v8x2m6c9q3t5r7w1e"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
LOSSES = {
    "hang-up": ["--lose", "hang-up"],
    "error": ["--lose", "error"],
    # No search finds the activity: only the refusal of the second one says that it is there.
    "unique": ["--lose", "hang-up", "--unique", "--search-lag", "3600"],
}
PROJECTION = {
    "safeToCreate": True,
    "reasons": [],
    "externalId": {"value": CALL},
    "request": {"body": {"externalId": CALL, "title": "Call from Dana Field"}},
}


class Api(ThreadingHTTPServer):
    """As much of the service as a connector needs, with one call."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.changes = ["call.final"]
        self.links: list[Any] = []
        self.passed = "0"

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Api

    def do_GET(self) -> None:
        path, query = urlsplit(self.path).path, parse_qs(urlsplit(self.path).query)
        if path == "/v1/changes":
            self._answer(self._changes(query["cursor"][0]))
        elif path == "/v1/calls":
            self._answer({"data": [{"id": CALL}], "nextCursor": None})
        else:
            assert path == f"/v1/calls/{CALL}/projections/generic"
            self._answer(PROJECTION)

    def _changes(self, cursor: str) -> Any:
        if cursor == "now":
            return {"data": [], "nextCursor": "0"}
        self.server.passed = cursor
        if int(cursor) == len(self.server.changes):
            time.sleep(0.05)  # in place of the wait, so that the connector does not spin
        listed = [
            {"type": kind, "callId": CALL, "cursor": str(number)}
            for number, kind in enumerate(self.server.changes, 1)
            if number > int(cursor)
        ]
        return {"data": listed, "nextCursor": str(len(self.server.changes))}

    def do_PUT(self) -> None:
        self.server.links.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self._answer({})

    def _answer(self, body: Any) -> None:
        raw = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def api() -> Iterator[Api]:
    with Api() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def run_crm(folder: Path, stack: ExitStack, *options: str) -> str:
    port = free_port()
    command = [sys.executable, str(EXAMPLES / "crm.py"), "--port", str(port), *options]
    stack.callback(Kept([*command, "--file", str(folder / "crm.db")], folder / "crm.log", {}).end)
    return f"http://127.0.0.1:{port}"


def wait_until_passed(api: Api, number: int, log: Path) -> None:
    until = time.monotonic() + LONGEST_SECONDS
    while api.passed != str(number):
        assert time.monotonic() < until, log.read_text()
        time.sleep(0.05)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("language", COMMANDS)
def test_a_call_whose_answer_is_lost_is_written_once(
    language: str, loss: str, api: Api, tmp_path: Path
) -> None:
    if shutil.which(COMMANDS[language][0]) is None:
        pytest.skip("the connector for Node takes `node`: install it")
    log = tmp_path / "connector.log"
    with ExitStack() as stack:
        crm = run_crm(tmp_path, stack, *LOSSES[loss])
        command = [*COMMANDS[language], "--crm", crm, "--state", str(tmp_path / "cursor")]
        environment = {"AFTERCALL_API": api.address, "AFTERCALL_KEY": "ak_test"}
        stack.callback(Kept(command, log, environment).end)

        # Once as a call without a link, and once more as a change.
        wait_until_passed(api, 1, log)
        assert written(crm) == [CALL]
        assert api.links == [{"objects": [{"type": "activity", "id": "1"}]}] * 2
        if loss == "unique":
            return  # no search finds what is to be removed

        api.changes.append("call.erased")
        wait_until_passed(api, 2, log)
        assert written(crm) == []


def message(kind: str) -> tuple[dict[str, str], bytes]:
    body = json.dumps({"type": kind, "data": {"change": {"callId": CALL}}}).encode()
    return headers_of([secret_key(SECRET)], "1-9f8e7d6c5b4a", int(time.time()), body), body


@pytest.mark.parametrize("loss", LOSSES)
def test_the_function_asks_for_the_message_later_and_writes_the_call_once(
    loss: str, api: Api, tmp_path: Path
) -> None:
    if shutil.which("node") is None:
        pytest.skip("the function takes `node`: install it")
    port, log = free_port(), tmp_path / "function.log"
    with ExitStack() as stack:
        crm = run_crm(tmp_path, stack, *LOSSES[loss])
        environment = {
            "AFTERCALL_API": api.address,
            "AFTERCALL_KEY": "ak_test",
            "CRM_URL": crm,
            "WEBHOOK_SECRET": SECRET,
        }
        command = ["node", str(EXAMPLES / "serverless" / "serve.mjs"), str(port)]
        stack.callback(Kept(command, log, environment).end)
        transport = httpx.HTTPTransport(retries=8)
        http = stack.enter_context(httpx.Client(transport=transport, trust_env=False, timeout=30.0))
        written(crm)  # it is up

        def post(headers: dict[str, str], body: bytes) -> httpx.Response:
            return http.post(f"http://127.0.0.1:{port}/hook", headers=headers, content=body)

        headers, body = message("call.final")
        for signature in ("v1,AAAA", "v1,?", "", f"v1,{'A' * 43}="):
            assert post(headers | {"webhook-signature": signature}, body).status_code == 401
        lost = post(headers, body)
        assert (lost.status_code, lost.headers["Retry-After"]) == (503, "60"), log.read_text()
        assert api.links == []
        assert post(headers, body).status_code == 204, log.read_text()
        assert written(crm) == [CALL]
        assert api.links == [{"objects": [{"type": "activity", "id": "1"}]}]
        if loss != "unique":
            assert post(*message("call.erased")).status_code == 204
            assert written(crm) == []
