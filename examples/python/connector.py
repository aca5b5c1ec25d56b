"""A connector in Python: writes each customer call into the CRM exactly once, when the call is final.

    export AFTERCALL_API=http://127.0.0.1:8000 AFTERCALL_KEY=ak_…
    .venv/bin/python examples/python/connector.py --crm http://127.0.0.1:9000 --state connector.cursor

It needs httpx. It can be killed at any moment and started again, and so can the service and the CRM.
"""

import argparse
import os
import random
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import httpx

LONGEST_PAUSE_SECONDS = 30.0
TIMEOUT_SECONDS = 90.0
"""Longer than a request with `wait`, and longer than a CRM works on a request before it gives up itself: a
create that still goes on when the next one begins would be found by no search."""

Json = dict[str, Any]
T = TypeVar("T")


class Lost(Exception):
    """There is no answer, or one that says to try again. What was asked for may have been done or not."""

    def __init__(self, what: str, retry_after: float = 0.0) -> None:
        super().__init__(what)
        self.retry_after = retry_after


def repeat(action: Callable[[], T]) -> T:
    """Do something again until it is not Lost."""
    pause = 0.5
    while True:
        try:
            return action()
        except Lost as lost:
            print(lost, file=sys.stderr, flush=True)
            time.sleep(max(pause, lost.retry_after) * random.uniform(1.0, 1.2))
            pause = min(2.0 * pause, LONGEST_PAUSE_SECONDS)


class Client:
    """Sends requests, and tells those that are lost from those that are refused."""

    def __init__(self, base_url: str, key: str | None = None) -> None:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._http = httpx.Client(
            base_url=base_url, headers=headers, timeout=TIMEOUT_SECONDS, trust_env=False
        )

    def send(self, method: str, path: str, *fine: int, **rest: Any) -> httpx.Response:
        """Send a request once. Raises Lost, HTTPStatusError for errors of ours that are not in `fine`."""
        try:
            response = self._http.request(method, path, **rest)
        except httpx.TransportError as error:
            raise Lost(f"{method} {path}: {error!r}") from error
        if response.status_code == 429 or response.status_code >= 500:
            seconds = response.headers.get("Retry-After", "")
            raise Lost(
                f"{method} {path}: {response.status_code}", float(seconds) if seconds.isdecimal() else 0.0
            )
        return response if response.status_code in fine else response.raise_for_status()

    def request(self, method: str, path: str, *fine: int, **rest: Any) -> httpx.Response:
        """Send a request until it is answered. Not for a POST that creates: it would do so twice."""
        return repeat(lambda: self.send(method, path, *fine, **rest))


class Connector:
    """`name` is that of the CRM in links: each connector has its own."""

    def __init__(self, api: Client, crm: Client, state: Path, name: str) -> None:
        self._api = api
        self._crm = crm
        self._state = state
        self._name = name

    def run(self) -> None:
        """Write what is missing, then follow the feed for ever."""
        cursor = self._load()
        if cursor is None:
            # The position first, then the past: a call that becomes final in between is seen twice.
            cursor = self._api.request("GET", "/v1/changes", params={"cursor": "now"}).json()["nextCursor"]
            self._write_missing()
            self._save(cursor)
        while True:
            query = {"cursor": cursor, "wait": 20, "types": ["call.final", "call.erased"]}
            response = self._api.request("GET", "/v1/changes", 410, params=query)
            page = response.json()
            if response.status_code == 410:  # the position is too old, or lost in a restore
                cursor = page["startFrom"]
                self._write_missing()
                continue
            for change in page["data"]:
                if change["type"] == "call.erased":
                    self._remove(change["callId"])
                else:
                    self._write(change["callId"])
                self._save(change["cursor"])  # after the work: what was not finished comes again
            cursor = page["nextCursor"]  # also passes what `types` leaves out
            self._save(cursor)

    def _write_missing(self) -> None:
        """Write every final call that has no link to the CRM yet."""
        for call in self._list(stage="final", unlinkedCrm=self._name, order="startTime"):
            self._write(call["id"])

    def _list(self, **query: str) -> Iterator[Json]:
        while True:
            page = self._api.request("GET", "/v1/calls", params=query).json()
            yield from page["data"]
            if page["nextCursor"] is None:
                return
            query["cursor"] = page["nextCursor"]

    def _write(self, call_id: str) -> None:
        """Write one call, unless the CRM has it already."""
        response = self._api.request("GET", f"/v1/calls/{call_id}/projections/generic", 404, 410)
        if response.status_code != 200:
            return  # erased since
        projection = response.json()
        if not projection["safeToCreate"]:
            reasons = ", ".join(one["code"] for one in projection["reasons"])
            print(f"{call_id}: left out, {reasons}", flush=True)
            return
        object_id = repeat(lambda: self._find_or_create(projection))
        link = {"objects": [{"type": "activity", "id": object_id}]}
        self._api.request("PUT", f"/v1/calls/{call_id}/links/{self._name}", 404, 410, json=link)
        print(f"{call_id}: {projection['request']['body']['title']}", flush=True)

    def _find_or_create(self, projection: Json) -> str:
        """Return the activity's id. A create that is Lost may have happened: the next attempt searches."""
        found = self._search(projection["externalId"]["value"])
        if found:
            return str(found[0]["id"])
        # 409: the CRM has it, although the search does not show it yet.
        created = self._crm.send("POST", "/activities", 409, json=projection["request"]["body"])
        return str(created.json()["id"])

    def _remove(self, call_id: str) -> None:
        """Remove what the CRM has of an erased call."""
        for activity in repeat(lambda: self._search(call_id)):
            self._crm.request("DELETE", f"/activities/{activity['id']}", 404)
        print(f"{call_id}: erased", flush=True)

    def _search(self, external_id: str) -> list[Json]:
        found: list[Json] = self._crm.send("GET", "/activities", params={"externalId": external_id}).json()
        return found

    def _load(self) -> str | None:
        return self._state.read_text() if self._state.exists() else None

    def _save(self, cursor: str) -> None:
        # Written beside it and renamed, so that there is always a whole cursor.
        draft = self._state.with_suffix(".new")
        draft.write_text(cursor)
        draft.replace(self._state)


def main() -> None:
    parser = argparse.ArgumentParser(description="Writes each customer call into the CRM exactly once.")
    parser.add_argument("--crm", default="http://127.0.0.1:9000")
    parser.add_argument("--name", default="practice")
    parser.add_argument("--state", type=Path, default=Path("connector.cursor"))
    arguments = parser.parse_args()
    api = Client(os.environ["AFTERCALL_API"], os.environ["AFTERCALL_KEY"])
    try:
        Connector(api, Client(arguments.crm), arguments.state, arguments.name).run()
    except KeyboardInterrupt:
        print("stopped", flush=True)


if __name__ == "__main__":
    main()
