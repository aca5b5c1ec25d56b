"""Why nobody looked for a call: no permission, or credentials that are refused."""

from dataclasses import replace
from typing import Any, cast

import pytest

from app.accounts.access import Access, Level
from app.accounts.connections import Connection, serving
from app.call_log_api.lists import _item_json
from app.enrichment.call_log.next_reads import why_unseen
from app.errors import ForeignHost
from app.ids import AccountId, RecordId
from app.ringcentral.models import BulkItem
from tests.fakes.clock import START


def connection(code: str | None = None, level: Level = Level.ACCOUNT) -> Connection:
    problem = None if code is None else {"code": code, "detail": "x"}
    made = Connection(AccountId("1"), "own", cast("Any", None), cast("Any", None))
    return replace(made, access=Access(level=level, extension_id=None, problem=problem))


@pytest.mark.parametrize(
    ("connections", "reason"),
    [
        ([], "no-credentials"),
        ([connection("OAU-236")], "no-credentials"),
        ([connection("credentials-refused"), connection("CMN-401")], "no-credentials"),
        ([connection("sign-in-again"), connection(level=Level.EXTENSION)], "no-credentials"),
        ([connection("OAU-236", Level.EXTENSION), connection(level=Level.EXTENSION)], "no-permission"),
        ([connection("CMN-419")], "no-permission"),
        ([connection("permission-missing")], "no-permission"),
        ([connection(level=Level.EXTENSION)], "no-permission"),
    ],
)
def test_the_reason_names_what_is_missing(connections: list[Connection], reason: str) -> None:
    assert why_unseen(connections, serving(connections)) == reason


@pytest.mark.parametrize(
    ("status", "shown"),
    [
        (404, 404),
        (403, 403),
        (None, 502),
        (200, 502),
        (207, 502),
        (500, 502),
        (503, 502),
        (429, 502),
        (408, 502),
        (-1, 502),
    ],
)
def test_an_empty_part_of_a_bulk_response_is_unknown(status: int | None, shown: int) -> None:
    item = BulkItem(id=RecordId("r"), sent_at=START, status=status, why="no readable part")
    assert _item_json(item)["status"] == shown


def test_a_foreign_host_names_the_setting() -> None:
    assert (
        ForeignHost("https://media.example is not configured", setting="RC_MEDIA_URL").setting
        == "RC_MEDIA_URL"
    )
