"""Calls are rebuilt from raw deliveries and records."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import delete, select, update

from app.calls import store
from app.calls.ledger import open_ledger
from app.calls.model import Source
from app.db.tables import calls, deliveries, timeline
from app.enrichment.records.apply import apply_records, store_versions
from app.ids import AccountId
from app.ringcentral.models import CallRecord, read_call_record
from app.webhooks.replay import replay_all, replay_calls
from tests.factories import ACCOUNT, DANA_NUMBER, SCRIPTS
from tests.factories_calls import raw_record
from tests.fakes.desk import PLAN
from tests.integration.webhooks.conftest import Intake, intake

__all__ = ["intake"]

OWN = AccountId("~")


async def give_records(intake: Intake, source: Source = Source.ACTIVE_CALLS, **fields: Any) -> None:
    """Give every call a record, as a poll would."""
    async with (
        intake.database.write() as db,
        open_ledger(db, AccountId(ACCOUNT), intake.clock.now()) as ledger,
    ):
        loaded = await store.load_by_ids(
            db, AccountId(ACCOUNT), [call.call_id for call in await intake.calls()]
        )
        found: dict[str, list[CallRecord]] = {}
        for number, call in enumerate(loaded.values()):
            record = read_call_record(
                raw_record(
                    f"rec-{number}",
                    telephonySessionId=call.telephony_session_id,
                    sessionId=call.session_id or "0",
                    **fields,
                )
            )
            assert isinstance(record, CallRecord)
            found[call.call_id] = [record]
        await apply_records(ledger, loaded, found, source, intake.clock.now(), PLAN)


@pytest.mark.parametrize(
    "name", ["inbound_answered", "queue_answered", "warm_transfer", "conference", "voicemail"]
)
async def test_a_replay_gives_the_same_calls(intake: Intake, name: str) -> None:
    await intake.play(SCRIPTS[name]())
    await give_records(intake)
    before = await intake.calls()
    report = await replay_calls(intake.database, intake.clock, OWN)
    assert (report.calls, report.same, report.different) == (len(before), len(before), {})
    assert await intake.calls() == before


async def test_a_corrupted_call_is_corrected_as_a_visible_change(intake: Intake) -> None:
    await intake.play(SCRIPTS["inbound_answered"]())
    await give_records(intake)
    (before,) = await intake.calls()
    async with intake.database.write() as db:
        await db.execute(update(calls).values(outcome="busy", facts=[], parties=[], result=None))

    looked = await replay_calls(intake.database, intake.clock, OWN, write=False)
    assert sorted(looked.different[before.call_id]) == ["facts", "outcome", "parties", "result"]
    assert (await intake.calls())[0].outcome == "busy", "a dry run writes nothing"

    await replay_calls(intake.database, intake.clock, OWN)
    (after,) = await intake.calls()
    assert (after.outcome, after.result, after.parties, after.facts) == (
        before.outcome,
        before.result,
        before.parties,
        before.facts,
    )
    assert after.version == before.version + 1
    async with intake.database.read() as db:
        last = (await db.execute(select(timeline).order_by(timeline.c.seq.desc()).limit(1))).one()
    assert (last.type, last.data["source"]) == ("call.updated", "replay")


async def test_one_session_can_be_replayed_alone(intake: Intake) -> None:
    await intake.play(SCRIPTS["warm_transfer"]())
    session = (await intake.calls())[0].telephony_session_id
    report = await replay_calls(intake.database, intake.clock, OWN, session=session)
    assert report.calls == 1


async def test_an_end_known_only_from_records_survives_later_events(intake: Intake) -> None:
    (first, late, *rest) = SCRIPTS["inbound_answered"]()
    await intake.play([first, *rest])
    (heard,) = await intake.calls()
    assert heard.ended_at is not None
    end = heard.ended_at.replace(microsecond=0) + timedelta(seconds=100)
    intake.clock.advance(200)
    began = end - timedelta(seconds=300)
    await give_records(intake, startTime=began.isoformat(), duration=300)
    assert [call.ended_at for call in await intake.calls()] == [end]
    await intake.fold([late])
    (call,) = await intake.calls()
    assert (call.ended_at, call.stage) == (end, "bootstrapped")
    report = await replay_calls(intake.database, intake.clock, OWN)
    assert report.different == {}
    assert await intake.calls() == [call]


@pytest.mark.parametrize("late", [[0], [1], [2, 3], [2, 3, 4, 5, 6], [7]])
async def test_events_after_a_record_give_the_same_call_as_before_it(intake: Intake, late: list[int]) -> None:
    """The record contains less than the events: it is that of another user, who missed the call."""
    script = SCRIPTS["inbound_answered"]()
    said: dict[str, Any] = {
        "result": "Missed",
        "duration": 0,
        "from": {"name": "Dana"},
        "to": {"name": "Ana"},
    }
    await intake.play([payload for number, payload in enumerate(script) if number not in late])
    intake.clock.advance(30)
    await give_records(intake, **said)
    await intake.fold(script[number] for number in late)
    (call,) = await intake.calls()
    assert call.outcome == "answered"
    assert call.caller == {"name": "Dana", "phoneNumber": DANA_NUMBER}
    report = await replay_calls(intake.database, intake.clock, OWN, write=False)
    assert report.different == {}


async def test_records_set_aside_for_an_ongoing_call_are_not_replayed(intake: Intake) -> None:
    (first, *_) = SCRIPTS["inbound_answered"]()
    await intake.fold([first])
    (call,) = await intake.calls()
    async with (
        intake.database.write() as db,
        open_ledger(db, AccountId(ACCOUNT), intake.clock.now()) as ledger,
    ):
        record = read_call_record(raw_record(result="Stopped"))
        assert isinstance(record, CallRecord)
        await store_versions(
            ledger, {call.call_id: call}, {call.call_id: [record]}, Source.CALL_LOG, intake.clock.now()
        )
    report = await replay_calls(intake.database, intake.clock, OWN)
    assert (report.same, report.different) == (1, {})


async def spoil(intake: Intake, **values: Any) -> None:
    """Store calls as a former version derived them."""
    async with intake.database.write() as db:
        await db.execute(update(calls).values(**values))


async def test_every_call_is_derived_again_from_what_is_stored(intake: Intake) -> None:
    await intake.play(SCRIPTS["inbound_answered"]())
    await give_records(intake)
    right = await intake.calls()
    wrong = {"direction": "Outbound", "external_number": None, "agent_extension_id": None}
    await spoil(intake, **wrong)
    async with intake.database.write() as db:
        await db.execute(delete(deliveries))
    dry = await replay_all(intake.database, intake.clock, write=False)
    (call_id,) = dry.different
    assert set(dry.different[call_id]) == set(wrong)
    assert (await intake.calls())[0].direction == "Outbound", "a dry run writes nothing"
    report = await replay_all(intake.database, intake.clock)
    assert report.different == dry.different
    (call,) = await intake.calls()
    assert {name: getattr(call, name) for name in wrong} == {name: getattr(right[0], name) for name in wrong}
    assert call.version == right[0].version + 1
    assert (await intake.events(call))[-1] == "call.updated"
    again = await replay_all(intake.database, intake.clock)
    assert (again.calls, again.same, again.different) == (1, 1, {})


async def test_a_replay_reads_from_deliveries_what_a_former_version_left_out(intake: Intake) -> None:
    script = SCRIPTS["parked_and_picked_up"]()
    script[-1]["body"]["parties"][0]["status"]["parkData"] = "*801"
    await intake.play(script)
    (right,) = await intake.calls()
    assert right.details["parkId"] == "*801"
    former = [{name: value for name, value in fact.items() if name != "pd"} for fact in right.facts]
    await spoil(intake, facts=former, details=right.details | {"parkId": None})
    report = await replay_all(intake.database, intake.clock)
    assert report.different == {right.call_id: ["details", "facts"]}
    assert [call.details for call in await intake.calls()] == [right.details]


async def test_a_replay_of_everything_goes_on_after_each_batch(
    intake: Intake, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("warm_transfer", "voicemail", "ring_out"):
        await intake.play(SCRIPTS[name]())
    monkeypatch.setattr("app.webhooks.replay.ALL_BATCH", 2)
    report = await replay_all(intake.database, intake.clock)
    assert (report.calls, report.different) == (len(await intake.calls()), {})
