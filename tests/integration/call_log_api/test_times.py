"""Every time in a response is RFC 3339 in UTC, with milliseconds and `Z`."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.fakes.reader_stage import Stage

TIME = re.compile(r"\d{4}-\d\d-\d\dT")
OURS = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def times(node: Any) -> Iterator[str]:
    if isinstance(node, dict | list):
        for part in node.values() if isinstance(node, dict) else node:
            yield from times(part)
    elif isinstance(node, str) and TIME.match(node):
        yield node


@pytest.mark.parametrize(
    "path", ["/v1/calls", "/v1/changes", "/v1/recordings/3019664700", "/v1/ops/summary", "/v1/ops/gaps",
             "/v1/ops/dead-letters", "/v1/api-keys"]
)  # fmt: skip
async def test_times_have_milliseconds(stage: Stage, path: str) -> None:
    await stage.know("3019664700")
    told = list(times((await stage.reader.get(path)).json()))
    assert told
    assert [time for time in told if not OURS.fullmatch(time)] == []


async def test_a_time_with_an_offset_is_shown_in_utc(stage: Stage) -> None:
    link = {"objects": [{"type": "task", "id": "88217", "at": "2026-03-10T19:09:30+01:00"}]}
    told = (await stage.reader.put("/v1/calls/1229016182016/links/hubspot", json=link)).json()
    assert told["objects"][0]["at"] == "2026-03-10T18:09:30.000Z"
    note = {"text": "Call back.", "createdAt": "2026-03-10T19:09:30+01:00"}
    told = (await stage.reader.post("/v1/calls/1229016182016/notes", json=note)).json()
    assert told["createdAt"] == "2026-03-10T18:09:30.000Z"
