"""Faxes of the Call Log: left out, or calls of their own where the operator wants them."""

from dataclasses import replace
from datetime import timedelta

import pytest

from app.calls.views import load_views_by_id
from app.clock import Clock
from app.enrichment.call_log.ingest import ingest
from app.enrichment.call_log.slices import sort_by_call
from app.ids import AccountId
from app.ringcentral.models import CallRecord, read_call_record
from tests.factories_calls import ACCOUNT
from tests.fakes.desk import PLAN, Desk

BOTH = replace(PLAN, call_types=("Voice", "Fax"))


def fax(desk: Desk) -> CallRecord:
    words = {"type": "Fax", "direction": "Inbound", "action": "Incoming Fax", "result": "Received"}
    read = read_call_record(desk.show(7, **words, duration=30))
    assert isinstance(read, CallRecord)
    return read


@pytest.mark.parametrize("is_wanted", [False, True])
async def test_a_fax_becomes_a_call_only_where_it_is_wanted(desk: Desk, is_wanted: bool) -> None:
    plan = BOTH if is_wanted else PLAN
    records = sort_by_call([fax(desk)])
    clock: Clock = desk.clock
    now = clock.now()
    ingested = await ingest(desk.database, clock, plan, AccountId(ACCOUNT), records, now, grace=timedelta(0))
    assert len(ingested.opened) == int(is_wanted)
    assert await desk.sessions() == ({"s-7"} if is_wanted else set())
    async with desk.database.read() as db:
        shown = await load_views_by_id(db, AccountId(ACCOUNT), ingested.opened)
    assert [(one["type"], one["outcome"]) for one in shown.values()] == [("fax", "fax")] * is_wanted
