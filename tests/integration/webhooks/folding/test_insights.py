"""Insights from events are stored once per recording, before or after their call, on both databases."""

import itertools
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from app.api.dependencies import Services
from app.calls.attachments import store as attachments
from app.calls.attachments.inputs import SentimentIn
from app.calls.attachments.stored import SENTIMENT
from app.calls.attachments.subjects import open_account
from app.calls.ledger import open_ledger
from app.calls.model import Call, Source
from app.db.tables import calls, insights, sentiments, timeline
from app.enrichment.records.apply import apply_records
from app.enrichment.records.plan import CallLogPlan
from app.ids import AccountId
from app.ringcentral.models import CallRecord, read_call_record
from tests.conftest import build_app, open_client
from tests.factories import ACCOUNT, SESSION, TELEPHONY_SESSION, inbound_answered, rc_time
from tests.factories_calls import raw_record
from tests.factories_insights import READY, RECORDING, insights_event, mood
from tests.factories_insights import insights as make_insights
from tests.integration.webhooks.conftest import Intake

OWNER = AccountId(ACCOUNT)
LATER: dict[str, Any] = {"lastModifiedTime": rc_time(READY + timedelta(minutes=5))}
PLAN = CallLogPlan(first_after=60.0, gap=30.0, horizon=3600.0, settled_after=60.0)


async def rows(intake: Intake, table: Any) -> list[Any]:
    async with intake.database.read() as db:
        return list((await db.execute(select(table))).all())


async def only_call(intake: Intake) -> Call:
    (call,) = await intake.calls()
    return call


async def moods(intake: Intake) -> dict[str, tuple[str, Any]]:
    return {row.source: (row.label, row.original) for row in await rows(intake, sentiments)}


async def test_insights_of_a_known_call_are_ready_with_its_sentiment(intake: Intake) -> None:
    await intake.play(inbound_answered())
    before = await only_call(intake)
    await intake.fold([insights_event()])
    call = await only_call(intake)
    assert call.readiness["insights"]["state"] == "ready"
    assert await moods(intake) == {"ringsense": ("positive", "Positive")}
    assert (await intake.events(call))[-2:] == ["insights.ready", "sentiment.set"]
    assert call.version == before.version + 2


async def test_a_call_becomes_final_when_only_insights_were_missing(intake: Intake) -> None:
    await intake.play(inbound_answered())
    settled = {"stage": "reconciled", "read_at": None, "insights_at": intake.clock.now()}
    waits = {"recording": {"state": "ready"}, "insights": {"state": "pending"}}
    async with intake.database.write() as db:
        await db.execute(calls.update().values(**settled, readiness=waits))
    await intake.fold([insights_event()])
    call = await only_call(intake)
    assert (call.stage, call.insights_at) == ("final", None)
    assert (await intake.events(call))[-1] == "call.final"


async def test_insights_that_arrive_first_wait_for_their_call(intake: Intake) -> None:
    await intake.fold([insights_event()])
    (waiting,) = await rows(intake, insights)
    assert waiting.call_id is None
    assert await rows(intake, sentiments) == []

    await intake.play(inbound_answered())
    call = await only_call(intake)
    (joined,) = await rows(intake, insights)
    assert joined.call_id == call.call_id
    assert await moods(intake) == {"ringsense": ("positive", "Positive")}
    assert (await intake.events(call)).count("insights.ready") == 1


async def test_insights_in_the_same_batch_as_their_call_join_it(intake: Intake) -> None:
    await intake.fold([insights_event(), *inbound_answered()])
    (row,) = await rows(intake, insights)
    assert row.call_id == (await only_call(intake)).call_id


async def test_insights_that_name_only_a_recording_join_when_a_record_names_it(intake: Intake) -> None:
    await intake.play(inbound_answered())
    await intake.fold([insights_event(make_insights(sourceSessionId=None))])
    (row,) = await rows(intake, insights)
    assert row.call_id is None

    call = await only_call(intake)
    record = read_call_record(raw_record(recording={"id": RECORDING, "type": "Automatic"}))
    assert isinstance(record, CallRecord)
    async with intake.database.write() as db, open_ledger(db, OWNER, intake.clock.now()) as ledger:
        found = {str(call.call_id): [record]}
        await apply_records(
            ledger, {str(call.call_id): call}, found, Source.CALL_LOG, intake.clock.now(), PLAN
        )
    (row,) = await rows(intake, insights)
    assert row.call_id == call.call_id
    assert (await only_call(intake)).readiness["insights"]["state"] == "ready"
    assert await moods(intake) == {"ringsense": ("positive", "Positive")}

    again = make_insights(sourceSessionId=None, title="newer", **LATER)
    await intake.fold([insights_event(again, uuid="2")])
    (row,) = await rows(intake, insights)
    assert (row.call_id, row.raw["title"]) == (call.call_id, "newer")


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
async def test_the_latest_version_wins_in_any_order_of_events(intake: Intake, order: tuple[int, ...]) -> None:
    bodies = [mood("Neutral"), make_insights(**LATER), mood("Negative", lastModifiedTime=None)]
    await intake.play(inbound_answered())
    for place in order:
        await intake.fold([insights_event(bodies[place], uuid=f"e{place}")])
    (row,) = await rows(intake, insights)
    assert row.raw["insights"]["Sentiment"] == [{"value": "Positive"}]
    assert "Transcript" in row.raw["insights"]
    assert await moods(intake) == {"ringsense": ("positive", "Positive")}


async def test_a_second_event_is_an_update_and_a_repetition_is_ignored(intake: Intake) -> None:
    await intake.play(inbound_answered())
    await intake.fold([insights_event(mood("Positive"), uuid="1")])
    await intake.fold([insights_event(make_insights(**LATER), uuid="2")])
    call = await only_call(intake)
    changes = [event for event in await intake.events(call) if event.startswith(("insights", "sentiment"))]
    assert changes == ["insights.ready", "sentiment.set", "insights.updated"]

    await intake.fold([insights_event(make_insights(**LATER), uuid="3")])
    assert (await only_call(intake)).version == call.version


async def test_a_sentiment_of_another_source_is_not_overwritten(intake: Intake) -> None:
    await intake.play(inbound_answered())
    await intake.fold([insights_event(mood("Positive"), uuid="1")])
    call = await only_call(intake)
    by_hand = SentimentIn(label="negative", score=-0.5).columns()
    async with (
        intake.database.write() as db,
        open_account(db, OWNER, intake.clock.now()) as ledger,
    ):
        await attachments.put(
            ledger, SENTIMENT, call.call_id, {"source": "ringsense", "made_by": "machine"}, by_hand
        )
        await attachments.put(
            ledger, SENTIMENT, call.call_id, {"source": "agent", "made_by": "person"}, by_hand
        )
    await intake.fold([insights_event(mood("Neutral", **LATER), uuid="2")])
    assert await moods(intake) == {"ringsense": ("negative", None), "agent": ("negative", None)}


async def test_a_removed_sentiment_does_not_come_back(intake: Intake) -> None:
    await intake.play(inbound_answered())
    await intake.fold([insights_event(mood("Positive"), uuid="1")])
    call = await only_call(intake)
    async with (
        intake.database.write() as db,
        open_account(db, OWNER, intake.clock.now()) as ledger,
    ):
        await attachments.remove(
            ledger, SENTIMENT, call.call_id, {"source": "ringsense", "made_by": "machine"}
        )
    await intake.fold([insights_event(mood("Neutral", **LATER), uuid="2")])
    assert await moods(intake) == {}


async def test_two_recordings_of_one_call_have_separate_insights_and_one_sentiment(
    intake: Intake,
) -> None:
    await intake.play(inbound_answered())
    await intake.fold([insights_event(mood("Positive"), uuid="1")])
    await intake.fold([insights_event(mood("Negative", sourceRecordId="77"), uuid="2")])
    assert len(await rows(intake, insights)) == 2
    assert await moods(intake) == {"ringsense": ("mixed", ["Positive", "Negative"])}


async def test_insights_that_name_nothing_are_set_aside_with_the_reason(intake: Intake) -> None:
    body = make_insights(None, sourceSessionId=None)
    await intake.play(inbound_answered())
    await intake.fold([insights_event(body, uuid="nothing")])
    assert (await intake.notes_on_deliveries())["nothing"] == "ignored: insights-of-nothing"
    assert await rows(intake, insights) == []


async def test_the_timeline_contains_no_spoken_words(intake: Intake) -> None:
    await intake.play(inbound_answered())
    await intake.fold([insights_event()])
    events = await rows(intake, timeline)
    assert any("insights" in event.type for event in events)
    assert [event.type for event in events if "invoice" in str(event.data)] == []


async def test_the_api_shows_insights_with_speakers_as_parties(
    intake: Intake, services: Services, api_key: str
) -> None:
    await intake.play(inbound_answered())
    async with open_client(build_app(services), api_key) as client:
        nothing = (await client.get(f"/v1/calls/{SESSION}/insights")).json()
        assert nothing == {"data": [], "readiness": {"state": "none", "since": None, "reason": None}}
        await intake.fold([insights_event()])
        answer = await client.get(f"/v1/calls/{TELEPHONY_SESSION}/insights")
        assert answer.status_code == 200
        (shown,) = answer.json()["data"]
        assert (shown["recordingId"], shown["aiScore"], shown["sentiment"]) == (RECORDING, 8.0, "positive")
        call = (await client.get(f"/v1/calls/{SESSION}")).json()
        parties = {party["id"]: party for party in call["parties"]}
        assert [parties[one["partyId"]].get("extensionId") for one in shown["speakers"]] == [
            "711000101",
            None,
        ]
        assert call["readiness"]["insights"]["state"] == "ready"
        assert call["sentiments"][0]["source"] == "ringsense"
        assert (await client.get("/v1/calls/999/insights")).status_code == 404
