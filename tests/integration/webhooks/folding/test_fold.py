"""From stored deliveries to calls, on both databases."""

import asyncio
import random
from typing import Any

import pytest
from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError

from app.calls.attachments import store as attachments
from app.calls.attachments.subjects import open_account
from app.calls.evidence.parties import read_parties
from app.calls.model import Call
from app.db.tables import accounts, calls, deliveries, notes, timeline
from app.ids import UNBOUND_ACCOUNT
from app.webhooks.folding import apply, fold
from tests.factories import (
    ACCOUNT,
    SCRIPTS,
    SESSION,
    TELEPHONY_SESSION,
    delivery,
    inbound_answered,
    party,
    received_at,
)
from tests.fakes.context import work_context
from tests.integration.webhooks.conftest import RULES, Intake


def image(call: Call) -> dict[str, Any]:
    """A call without its counters and times of processing."""
    left_out = {
        "call_id",
        "version",
        "changed_seq",
        "created_at",
        "updated_at",
        "end_known_at",
        "end_check_at",
        "readiness",
        "absent_reason",
    }
    shown = {name: getattr(call, name) for name in call.__slots__ if name not in left_out}
    shown["related"] = [{**link, "callId": link["callId"] is not None} for link in call.related]
    # Ids of ours differ between two runs; whether it is the main call must not.
    shown["main_call_id"] = call.main_call_id is not None
    return shown


async def test_a_call_is_live_from_its_first_event_and_ended_after_quiet(intake: Intake) -> None:
    payloads = inbound_answered()
    intake.clock.set(received_at(payloads[0]))
    await intake.fold(payloads[:1])
    (call,) = await intake.calls()
    assert (call.stage, call.session_id, call.telephony_session_id) == ("live", SESSION, TELEPHONY_SESSION)

    intake.clock.set(received_at(payloads[-1]))
    await intake.fold(payloads[1:])
    (call,) = await intake.calls()
    assert call.stage == "live", "it has not been quiet yet"

    await intake.pass_time(3.1)
    (call,) = await intake.calls()
    assert call.stage == "ended"
    assert call.outcome == "answered"
    assert call.window_closes_at is not None
    assert call.ended_at is not None
    assert (call.window_closes_at - call.ended_at).total_seconds() == 120
    assert "call.ended" in await intake.events(call)


@pytest.mark.parametrize("name", sorted(SCRIPTS))
async def test_order_repetition_and_batching_do_not_change_the_call(intake: Intake, name: str) -> None:
    payloads = SCRIPTS[name]()
    await intake.play(payloads)
    expected = {call.telephony_session_id: image(call) for call in await intake.calls()}

    async with intake.database.write() as db:
        await db.execute(deliveries.delete())
        await db.execute(calls.delete())
    shuffled = [*payloads, *payloads]
    random.Random(7).shuffle(shuffled)
    while shuffled:
        batch, shuffled = shuffled[:3], shuffled[3:]
        await intake.fold(batch)
    await intake.ends.step()
    found = {call.telephony_session_id: image(call) for call in await intake.calls()}
    assert found == expected


async def test_folding_a_delivery_again_changes_nothing(intake: Intake) -> None:
    await intake.play(inbound_answered())
    (before,) = await intake.calls()
    async with intake.database.write() as db:
        await db.execute(deliveries.update().values(folded_at=None))
    await intake.fold()
    (after,) = await intake.calls()
    assert (after.version, image(after)) == (before.version, image(before))


async def test_a_transfer_does_not_end_the_call(intake: Intake) -> None:
    payloads = SCRIPTS["blind_transfer"]()
    handed_over = next(at for at, item in enumerate(payloads) if "BlindTransfer" in str(item))
    intake.clock.set(received_at(payloads[handed_over]))
    await intake.fold(payloads[: handed_over + 1])
    await intake.pass_time(3.1)
    (call,) = await intake.calls()
    assert call.stage == "live"


async def test_a_parked_call_that_is_picked_up_is_live_again_with_the_reason(intake: Intake) -> None:
    payloads = SCRIPTS["parked_and_revived"]()
    parked = max(at for at, item in enumerate(payloads) if "CallPark" in str(item))
    intake.clock.set(received_at(payloads[parked]))
    await intake.fold(payloads[: parked + 1])
    for _ in range(3):
        await intake.pass_time(40)
    assert (await intake.calls())[0].stage == "ended", "it has not been picked up"
    await intake.fold(payloads[parked + 1 : parked + 3])
    assert (await intake.calls())[0].stage == "live"
    intake.clock.set(max(intake.clock.now(), received_at(payloads[-1])))
    await intake.fold(payloads[parked + 3 :])
    await intake.pass_time(3.1)
    (call,) = await intake.calls()
    events = await intake.events(call)
    assert call.stage == "ended"
    assert [event for event in events if event in {"call.ended", "call.revived"}] == [
        "call.ended",
        "call.revived",
        "call.ended",
    ]


async def test_a_test_call_is_closed_as_absent_with_the_reason(intake: Intake) -> None:
    await intake.play(SCRIPTS["trial_call"]())
    (call,) = await intake.calls()
    assert (call.stage, call.absent_reason) == ("absent", "test-call")


async def test_a_session_whose_first_event_is_disconnected_has_ended(intake: Intake) -> None:
    await intake.play(SCRIPTS["first_seen_disconnected"]())
    (call,) = await intake.calls()
    assert call.stage == "ended"


async def test_unused_events_are_kept_and_counted(intake: Intake) -> None:
    unknown = {
        "uuid": "u-1",
        "event": f"/restapi/v1.0/account/{ACCOUNT}/unheard-of",
        "timestamp": "2026-03-10T18:07:41.085Z",
        "body": {"a": 1},
    }
    await intake.fold([unknown, ["not", "an", "object"]])
    noted = await intake.notes_on_deliveries()
    assert noted["u-1"] == "ignored: unknown-event"
    assert sorted(str(note) for note in noted.values()) == [
        "ignored: not-an-object",
        "ignored: unknown-event",
    ]
    assert await intake.calls() == []


POISON = delivery(party(1, "Setup"), uuid="poison", sessionId="666", telephonySessionId="s-poison")


@pytest.fixture
def _poisoned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing can be made of `POISON`."""
    honest = read_parties

    def breaks_on_poison(facts: Any) -> Any:
        if any(fact.telephony_session_id == "s-poison" for fact in facts):
            raise RuntimeError("cannot be read")
        return honest(facts)

    monkeypatch.setattr(apply, "read_parties", breaks_on_poison)


@pytest.mark.usefixtures("_poisoned")
async def test_a_delivery_that_cannot_be_folded_is_set_aside_and_delays_no_other(intake: Intake) -> None:
    payloads = inbound_answered()
    await intake.fold([*payloads[:2], POISON, *payloads[2:]])
    noted = await intake.notes_on_deliveries()
    assert noted.pop("poison") == "error: RuntimeError"
    assert set(noted.values()) == {None}
    assert [call.session_id for call in await intake.calls()] == [SESSION]


@pytest.mark.usefixtures("_poisoned")
async def test_a_delivery_that_cannot_be_folded_is_found_among_many(intake: Intake) -> None:
    calls_before = fold.CAREFUL.rows + 5  # so that the first few can be folded without it
    honest = [
        delivery(
            party(1, "Setup", telephony_session_id=f"s-{number}"),
            uuid=f"{number}",
            sessionId=str(7000 + number),
            telephonySessionId=f"s-{number}",
        )
        for number in range(calls_before + 10)
    ]
    await intake.store([*honest[:calls_before], POISON, *honest[calls_before:]])
    while await intake.folder.step() == 0.0:
        pass
    noted = await intake.notes_on_deliveries()
    assert noted.pop("poison") == "error: RuntimeError"
    assert set(noted.values()) == {None}
    assert len(await intake.calls()) == len(honest)


async def test_a_note_written_before_the_first_event_joins_the_call(intake: Intake) -> None:
    now = intake.clock.now()
    async with intake.database.write() as db, open_account(db, UNBOUND_ACCOUNT, now) as ledger:
        note = {
            "text": "call back",
            "source": "api",
            "external_id": None,
            "title": None,
            "format": "plain",
            "author": None,
        }
        await attachments.add_note(ledger, SESSION, note)
    await intake.fold(inbound_answered()[:1])
    (call,) = await intake.calls()
    async with intake.database.read() as db:
        row = (await db.execute(select(notes))).one()
    assert (row.account_id, row.subject, row.parked) == (ACCOUNT, call.call_id, False)
    assert "note.joined" in await intake.events(call)


async def test_the_first_account_with_events_becomes_the_own_account(intake: Intake) -> None:
    await intake.fold(inbound_answered()[:1])
    async with intake.database.read() as db:
        bound = await db.scalar(select(accounts.c.bound_to).where(accounts.c.account_id == UNBOUND_ACCOUNT))
    assert bound == ACCOUNT


async def test_versions_increase_by_one_and_the_timeline_has_each(intake: Intake) -> None:
    for payload in SCRIPTS["queue_answered"]():
        intake.clock.set(max(intake.clock.now(), received_at(payload)))
        await intake.fold([payload])
    await intake.pass_time(3.1)
    (call,) = await intake.calls()
    async with intake.database.read() as db:
        rows = (await db.execute(select(timeline.c.seq, timeline.c.version).order_by(timeline.c.seq))).all()
    assert [row.version for row in rows] == list(range(1, call.version + 1))
    assert [row.seq for row in rows] == list(range(1, len(rows) + 1))


async def test_a_silent_call_is_looked_up_and_ended_if_ringcentral_does_not_know_it(intake: Intake) -> None:
    intake.clock.set(received_at(inbound_answered()[3]))
    await intake.fold(inbound_answered()[:4])
    intake.ringcentral.sessions = {TELEPHONY_SESSION}
    await intake.pass_time(14_500)
    assert (await intake.calls())[0].stage == "live", "RingCentral still knows it"
    intake.ringcentral.sessions = set()
    await intake.pass_time(1_000)
    (call,) = await intake.calls()
    assert call.stage == "ended"
    assert intake.ringcentral.asked == ["telephony session", "telephony session"]


async def test_presence_alone_opens_a_call_that_the_session_stream_completes(intake: Intake) -> None:
    await intake.play(SCRIPTS["both_sources"]())
    assert len(await intake.calls()) == 1


async def test_deliveries_of_an_unknown_account_do_not_wait(intake: Intake) -> None:
    async with intake.database.write() as db:
        await db.execute(
            insert(deliveries).values(
                account_id=UNBOUND_ACCOUNT,
                uuid="u",
                received_at=intake.clock.now(),
                raw=b'{"uuid":"u","event":"x","body":{"sessionId":"1","telephonySessionId":"s-1","parties":[{"id":"p-1-1","status":{"code":"Setup"}}]}}',
            )
        )
    await intake.fold()
    assert set((await intake.notes_on_deliveries()).values()) <= {
        "ignored: unknown-account",
        "ignored: unknown-event",
    }


@pytest.mark.usefixtures("_poisoned")
async def test_two_replicas_that_fail_on_the_same_delivery_set_aside_only_that_one(intake: Intake) -> None:
    await intake.store([POISON, *inbound_answered()[:3]])
    other = fold.Folder(work_context(intake.database, intake.clock), RULES)
    await asyncio.gather(intake.folder.step(), other.step())
    noted = await intake.notes_on_deliveries()
    assert noted.pop("poison") == "error: RuntimeError"
    assert set(noted.values()) == {None}


async def test_database_errors_contain_no_text_that_people_wrote(intake: Intake) -> None:
    row = {"account_id": "1", "uuid": "u", "received_at": intake.clock.now(), "raw": b"secret words"}

    async def write() -> None:
        async with intake.database.write() as db:
            await db.execute(insert(deliveries).values(row))

    await write()
    with pytest.raises(IntegrityError) as failure:
        await write()
    assert "secret words" not in str(failure.value)
