"""A CRM to practise with: it stores activities, lists and removes them.

    python examples/crm.py --port 9000 --file crm.db

POST   /activities        {"externalId": "…", …} -> 201 {"id": "…"}
GET    /activities        all of them; ?externalId=… only those
PUT    /activities/{id}   replaces one
DELETE /activities/{id}   removes one

Like most CRMs it does not mind the same activity twice, so a connector that is careless writes a call twice.
With --unique it refuses a second activity with the same external id: 409 {"id": "…"} names the first.

What goes wrong with CRMs, to try a connector against:

    --lose hang-up     stores each new activity, then closes the connection without an answer
    --lose error       stores each new activity, then answers 500
    --search-lag 30    searches find an activity only 30 seconds after it was stored
"""

import argparse
import json
import sqlite3
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


class Crm(HTTPServer):
    """Serves one request after the other; what it has answered with 201 is on disk."""

    def __init__(self, options: argparse.Namespace) -> None:
        super().__init__(("127.0.0.1", options.port), Handler)
        self.options = options
        self.stored_at: dict[str, float] = {}
        self.database = sqlite3.connect(options.file, isolation_level=None)
        self.database.execute("PRAGMA synchronous = FULL")
        self.database.execute(
            "CREATE TABLE IF NOT EXISTS activities (id INTEGER PRIMARY KEY, external_id TEXT, body TEXT)"
        )

    def find(self, external_id: str | None = None) -> list[dict[str, Any]]:
        """Return the activities with this external id, or all of them."""
        rows = self.database.execute(
            "SELECT id, body FROM activities WHERE external_id = ?1 OR ?1 IS NULL ORDER BY id", (external_id,)
        )
        return [{**json.loads(body), "id": str(row_id)} for row_id, body in rows]

    def is_searchable(self, activity_id: str) -> bool:
        """Whether searches show an activity yet."""
        stored_at: float = self.stored_at.get(activity_id, float("-inf"))
        age: float = time.monotonic() - stored_at
        return bool(age >= self.options.search_lag)


class Handler(BaseHTTPRequestHandler):
    server: Crm

    def do_GET(self) -> None:
        wanted = parse_qs(urlsplit(self.path).query).get("externalId", [None])[0]
        found = self.server.find(wanted)
        self._answer(200, [one for one in found if wanted is None or self.server.is_searchable(one["id"])])

    def do_POST(self) -> None:
        body, options = self._read(), self.server.options
        external_id = body.get("externalId")
        if options.unique and external_id is not None and (found := self.server.find(external_id)):
            self._answer(409, {"id": found[0]["id"]})
            return
        cursor = self.server.database.execute(
            "INSERT INTO activities (external_id, body) VALUES (?, ?)", (external_id, json.dumps(body))
        )
        activity_id = str(cursor.lastrowid)
        self.server.stored_at[activity_id] = time.monotonic()
        if options.lose == "hang-up":
            self.log_message("%s", f"{self.requestline}: stored {activity_id}, no answer")
            self.close_connection = True
        elif options.lose == "error":
            self._answer(500, {"error": "it may have been stored"})
        else:
            self._answer(201, {"id": activity_id})

    def do_PUT(self) -> None:
        activity_id, body = self.path.rpartition("/")[2], self._read()
        cursor = self.server.database.execute(
            "UPDATE activities SET external_id = ?, body = ? WHERE id = ?",
            (body.get("externalId"), json.dumps(body), activity_id),
        )
        self._answer(200 if cursor.rowcount else 404, {"id": activity_id})

    def do_DELETE(self) -> None:
        activity_id = self.path.rpartition("/")[2]
        cursor = self.server.database.execute("DELETE FROM activities WHERE id = ?", (activity_id,))
        self._answer(200 if cursor.rowcount else 404, {"id": activity_id})

    def _read(self) -> dict[str, Any]:
        body: dict[str, Any] = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        return body

    def _answer(self, status: int, body: Any) -> None:
        raw = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, format: str, *args: Any) -> None:
        print(format % args, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="A CRM to practise with.")
    parser.add_argument("--port", type=int, default=9000)
    parser.add_argument("--file", default="crm.db")
    parser.add_argument("--unique", action="store_true", help="refuse an external id that is there already")
    parser.add_argument("--lose", choices=("hang-up", "error"), help="store new activities, then do this")
    parser.add_argument("--search-lag", type=float, default=0.0, help="seconds until searches find something")
    options = parser.parse_args()
    with Crm(options) as crm:
        print(f"http://127.0.0.1:{crm.server_port}/activities", flush=True)
        crm.serve_forever()


if __name__ == "__main__":
    main()
