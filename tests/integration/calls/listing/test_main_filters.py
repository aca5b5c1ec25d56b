"""Lists of main calls, of internal calls, and of what is still missing in a CRM."""

from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import update

from app.calls.listing.crm import BELONGS_IN_A_CRM
from app.calls.model import NO_CALLS, Call, Outcome, Stage
from app.db.engine import Database
from app.db.tables import calls
from app.webhooks.folding.ending import NO_CUSTOMER_CALLS
from tests.factories_calls import seed_call, seed_link
from tests.fakes.clock import START
from tests.integration.calls.listing.test_listing import ids, walk

MINUTE = timedelta(minutes=1)
NOBODY: dict[str, Any] = {"external_number": None}

SEEDED: dict[str, dict[str, Any]] = {
    "customer": {},
    "consultation": {"internal": True, "main_call_id": "call_customer", **NOBODY},
    "moved": {"main_call_id": "call_customer"},
    "colleagues": {"internal": True, **NOBODY},
    "unsure": {"internal": None, **NOBODY},
    "anonymous": {"caller": {"phoneNumber": "anonymous"}, **NOBODY},
    "missed": {"outcome": Outcome.MISSED},
    "absent": {"stage": Stage.ABSENT, "absent_reason": "never-logged"},
    "test": {"stage": Stage.ABSENT, "absent_reason": "test-call", "internal": None, **NOBODY},
    "room": {"action": None, "callee": {"phoneNumber": "conference"}, **NOBODY},
    "recorded room": {"action": "Conference Call", "callee": None, **NOBODY},
    "recorded monitor": {"action": "Monitoring", "internal": None, **NOBODY},
}
MISSING = {"customer", "unsure", "anonymous", "missed", "absent"}
INTERNAL, UNKNOWN = {"consultation", "colleagues"}, {"unsure", "test", "recorded monitor"}


@pytest.fixture
async def seeded(database: Database) -> dict[str, Call]:
    """One call of each kind, in the order of their starts."""
    made: dict[str, Call] = {}
    for number, (name, fields) in enumerate(SEEDED.items()):
        made[name] = await seed_call(database, started_at=START + number * MINUTE, **fields)
    return made


def names(made: dict[str, Call], found: list[str]) -> list[str]:
    by_id: dict[str, str] = {call.call_id: name for name, call in made.items()}
    return [by_id[call_id] for call_id in found]


FILTERED: list[tuple[dict[str, Any], set[str]]] = [
    ({"main": True}, SEEDED.keys() - {"consultation", "moved"}),
    ({"main": False}, {"consultation", "moved"}),
    ({"internal": "true"}, INTERNAL),
    ({"internal": "False"}, SEEDED.keys() - INTERNAL - UNKNOWN),
    ({"internal": "null"}, UNKNOWN),
    ({"internal": ["false", "null"]}, SEEDED.keys() - INTERNAL),
    ({"internal": ["true", "false", "null"]}, set(SEEDED)),
    ({"main": False, "internal": "false"}, {"moved"}),
    ({"unlinkedCrm": "hubspot"}, MISSING),
    ({"unlinkedCrm": "hubspot", "outcome": "missed"}, {"missed"}),
    ({"unlinkedCrm": "hubspot", "internal": "true"}, set()),
    ({"unlinkedCrm": "hubspot", "main": False}, set()),
]


@pytest.mark.parametrize(("params", "expected"), FILTERED, ids=[str(params) for params, _ in FILTERED])
async def test_a_filter_finds_its_matches_on_every_page(
    client: httpx.AsyncClient, seeded: dict[str, Call], params: dict[str, Any], expected: set[str]
) -> None:
    newest_first = [name for name in reversed(SEEDED) if name in expected]
    assert names(seeded, await ids(client, **params)) == newest_first
    for order in ("startTime", "updatedAt", "endTime"):
        assert set(names(seeded, await walk(client, limit=2, order=order, **params))) == expected


async def test_a_call_that_was_written_to_the_crm_is_not_missing_there(
    client: httpx.AsyncClient, database: Database, seeded: dict[str, Call]
) -> None:
    await seed_link(database, seeded["missed"].call_id)
    assert set(names(seeded, await ids(client, unlinkedCrm="hubspot"))) == MISSING - {"missed"}
    assert set(names(seeded, await ids(client, unlinkedCrm="zoho"))) == MISSING


async def test_the_conditions_hold_or_fail_for_every_call(
    database: Database, seeded: dict[str, Call]
) -> None:
    async with database.write() as db:
        for condition in BELONGS_IN_A_CRM:
            held, failed = [
                (await db.execute(update(calls).where(one).values(reads=calls.c.reads))).rowcount
                for one in (condition, ~condition)
            ]
            assert held + failed == len(seeded)


def test_sessions_that_are_no_calls_are_those_that_folding_closes() -> None:
    assert set(NO_CUSTOMER_CALLS.values()) == NO_CALLS
