"""Odd, huge and poisonous deliveries cost bounded work and affect no other, on both databases."""

import asyncio
import json
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import insert, select, text, update

from app.calls.evidence.facts import FIRST_FACTS, LAST_FACTS
from app.db.engine import Database
from app.db.tables import call_parties, calls, deliveries, insights
from app.errors import StorageUnavailable
from app.ids import UNBOUND_ACCOUNT, AccountId
from app.webhooks.folding import end_watch as ends
from app.webhooks.folding import fold, unfolded
from app.webhooks.folding.batches import MOST_CALLS, MOST_FACTS, read_batch
from app.webhooks.payloads.notification import MAX_CALLS, MAX_PARTIES, TelephonyEvent, read_notification
from tests.factories import (
    ACCOUNT,
    TELEPHONY_SESSION,
    active_call,
    delivery,
    inbound_answered,
    party,
    presence,
    sides,
)
from tests.fakes.clock import FakeClock
from tests.fakes.context import work_context
from tests.integration.webhooks.conftest import RULES, Intake

OTHER = "908070002"


def of_other(payload: dict[str, Any]) -> dict[str, Any]:
    """Return the same delivery for another account."""
    moved: dict[str, Any] = json.loads(json.dumps(payload).replace(ACCOUNT, OTHER))
    return moved


async def test_a_presence_delivery_with_11000_calls_is_truncated_with_a_note(intake: Intake) -> None:
    crowd = [{"sessionId": number, "telephonyStatus": "Ringing"} for number in range(1, 11_001)]
    await intake.fold([presence(*crowd, uuid="crowd"), delivery(uuid="good")])
    assert len(await intake.calls()) == MAX_CALLS + 1
    assert await intake.notes_on_deliveries() == {"crowd": "truncated: too many calls", "good": None}


async def test_a_session_event_with_2000_parties_is_truncated_with_a_note(intake: Intake) -> None:
    await intake.fold([delivery(*(party(number) for number in range(2, 2002)), uuid="crowd")])
    (call,) = await intake.calls()
    assert len(call.parties) == MAX_PARTIES
    assert await intake.notes_on_deliveries() == {"crowd": "truncated: too many parties"}


async def test_a_batch_stays_within_the_limits_of_a_transaction(intake: Intake) -> None:
    payloads = [
        presence(
            *({"sessionId": 1000 * place + number, "telephonyStatus": "Ringing"} for number in range(1, 61)),
            uuid=f"{place}",
            sequence=place,
        )
        for place in range(10)
    ]
    await intake.store(payloads)
    async with intake.database.read() as db:
        rows: list[Any] = list(await db.execute(select(deliveries).order_by(deliveries.c.uuid)))
    batch = await read_batch(rows, AccountId(ACCOUNT), intake.clock)
    assert MOST_CALLS <= len(batch.facts) < MOST_CALLS + 60
    assert len(batch.notes) == 4
    crowd = [delivery(*(party(number) for number in range(2, 150)), uuid=f"{place}") for place in range(20)]
    rows = [
        SimpleNamespace(
            uuid=payload["uuid"], raw=json.dumps(payload).encode(), received_at=intake.clock.now()
        )
        for payload in crowd
    ]
    full = await read_batch(rows, AccountId(ACCOUNT), intake.clock)
    assert MOST_FACTS <= full.fact_count < MOST_FACTS + 150
    await intake.fold()
    assert len(await intake.calls()) == 600
    assert set((await intake.notes_on_deliveries()).values()) == {None}


@pytest.mark.parametrize("is_restarted", [False, True])
async def test_an_event_about_heavy_calls_is_folded_in_several_transactions(
    intake: Intake, clock: FakeClock, is_restarted: bool
) -> None:
    def crowd(status: str, uuid: str) -> dict[str, Any]:
        entries = ({"sessionId": number, "telephonyStatus": status} for number in range(1, 8))
        return presence(*entries, uuid=uuid, sequence=int(uuid))

    await intake.fold([crowd("Ringing", "1")])
    payloads = [
        delivery(*map(party, range(2, 202)), uuid=f"heavy-{place}", sequence=place) for place in range(10)
    ]
    events = [read_notification(payload, clock.now()) for payload in payloads]
    facts = [
        fact.to_json()
        for event in events
        if isinstance(event, TelephonyEvent)
        for fact in event.calls[0].facts
    ]
    assert len(facts) == FIRST_FACTS + LAST_FACTS
    async with intake.database.write() as db:
        await db.execute(update(calls).values(facts=facts))
    await intake.store([crowd("CallConnected", "2"), crowd("OnHold", "3"), of_other(delivery(uuid="other"))])
    notes = []
    for _ in range(4 if is_restarted else 2):
        if is_restarted:
            intake.folder = fold.Folder(work_context(intake.database, clock), RULES)
        assert await intake.folder.step() == 0.0
        notes.append(await intake.notes_on_deliveries())
    assert all((said["2"], said["3"]) == ("unfolded", "unfolded") for said in notes)
    assert notes[-1]["other"] is None
    steps = 0
    while await intake.folder.step() == 0.0:
        steps += 1
    assert steps <= 6
    assert set((await intake.notes_on_deliveries()).values()) == {None}
    crowded = [call for call in await intake.calls() if call.account_id == ACCOUNT]
    known = [{fact["u"] for fact in call.facts} & {"2", "3"} for call in crowded]
    assert known == [{"2", "3"}] * 7


@pytest.mark.parametrize("length", [127, 128, 129, 160, 256, 257, 5000])
async def test_long_numbers_and_names_are_cut_to_the_width_of_their_columns(
    intake: Intake, length: int
) -> None:
    long = "+" + "5" * (length - 1)
    caller = {"phoneNumber": long, "name": long, "extensionNumber": long}
    shown = {"primary": {"type": "QueueName", "value": long}}
    await intake.fold(
        [
            delivery(party(1, uiCallInfo=shown, **sides(caller, caller)), party(2), uuid="1"),
            presence(active_call(fromName=long, sessionId="77", **sides(long, long)), uuid="2"),
        ]
    )
    assert set((await intake.notes_on_deliveries()).values()) == {None}
    (call,) = await intake.calls()
    assert call.caller is not None
    assert call.caller["phoneNumber"] == long[:128]
    assert call.external_number is None, "no number is that long"
    assert call.queue_name == long[:256]
    async with intake.database.read() as db:
        numbers = list(await db.scalars(select(call_parties.c.value).where(call_parties.c.kind == "number")))
    assert numbers == [long[:128]]


@pytest.mark.parametrize(
    "value", ["NaN", "1e400", "-Infinity", '"\\u0000"', '"\\ud83d"', "9" * 200, "9" * 5000]
)
async def test_insights_are_stored_the_same_on_both_databases(intake: Intake, value: str) -> None:
    body = {
        "sourceSessionId": TELEPHONY_SESSION,
        "sourceRecordId": "r1",
        "insights": {"Summary": "@"},
        "@": "@",
    }
    event = f"/ai/insights/v1/accounts/{ACCOUNT}/domains/pbx/insights"
    raw = json.dumps({"uuid": "1", "event": event, "body": body}).replace('"@"}', f"{value}}}").encode()
    row = {"account_id": ACCOUNT, "uuid": "1", "received_at": intake.clock.now(), "raw": raw}
    async with intake.database.write() as db:
        await db.execute(insert(deliveries).values(row))
    await intake.fold()
    assert await intake.notes_on_deliveries() == {"1": None}
    async with intake.database.read() as db:
        kept = (await db.execute(select(insights.c.raw))).scalar_one()
    assert kept["insights"] == {"Summary": "\ufffd" if value.startswith('"') else None}


@pytest.mark.parametrize("raw", [b"", b"\xff", b"{", b"[" * 100_000, b'"text"', b"1", b"[]", b"null"])
async def test_a_body_that_is_no_event_becomes_a_dead_letter_with_a_reason(
    intake: Intake, raw: bytes
) -> None:
    row = {"account_id": UNBOUND_ACCOUNT, "uuid": "1", "received_at": intake.clock.now(), "raw": raw}
    async with intake.database.write() as db:
        await db.execute(insert(deliveries).values(row))
    await intake.fold([delivery(uuid="good")])
    (note,) = {note for uuid, note in (await intake.notes_on_deliveries()).items() if uuid == "1"}
    assert note in ("ignored: not-json", "ignored: not-an-object")


async def test_a_delivery_stored_by_its_bytes_becomes_no_call(intake: Intake) -> None:
    raw = json.dumps(of_other(delivery())).encode()
    await intake.fold([delivery(uuid="ours")])
    row = {
        "account_id": UNBOUND_ACCOUNT,
        "uuid": "content-raw-1",
        "received_at": intake.clock.now(),
        "raw": raw,
    }
    async with intake.database.write() as db:
        await db.execute(insert(deliveries).values(row))
    await intake.fold()
    assert (await intake.notes_on_deliveries())[
        "content-raw-1"
    ] == "error: refused by the database under its names"
    assert len(await intake.calls()) == 1


# One account's failure


@pytest.fixture
async def broken(intake: Intake, monkeypatch: pytest.MonkeyPatch) -> list[Exception]:
    """The errors that folding raises for the first account, one per delivery, until the list is empty."""
    failures: list[Exception] = []
    real = unfolded.find_owner

    async def failing(db: Any, account_id: Any, now: Any) -> Any:
        if failures and account_id == ACCOUNT:
            raise failures[0]
        return await real(db, account_id, now)

    monkeypatch.setattr(fold, "find_owner", failing)
    return failures


async def test_an_account_that_cannot_be_folded_waits_alone(
    intake: Intake, broken: list[Exception], clock: FakeClock
) -> None:
    broken.append(StorageUnavailable("its row is locked"))
    await intake.store([delivery(uuid="1"), of_other(delivery(uuid="2"))])
    steps = [await intake.folder.step() for _ in range(50)]
    assert all(pause is not None and pause > 0 for pause in steps), "the loop does not spin"
    assert await intake.notes_on_deliveries() == {"1": "unfolded", "2": None}
    clock.advance(120)
    await intake.folder.step()
    assert (await intake.notes_on_deliveries())["1"] == "unfolded"
    broken.clear()
    clock.advance(120)
    await intake.fold()
    assert (await intake.notes_on_deliveries())["1"] is None


async def test_a_missing_column_sets_no_delivery_aside(intake: Intake, clock: FakeClock) -> None:
    async with intake.database.write() as db:
        await db.execute(text("ALTER TABLE calls RENAME COLUMN queue_name TO renamed"))
    await intake.store([delivery(uuid="1"), delivery(uuid="2", sequence=3)])
    await intake.folder.step()
    assert await intake.notes_on_deliveries() == {"1": "unfolded", "2": "unfolded"}
    async with intake.database.write() as db:
        await db.execute(text("ALTER TABLE calls RENAME COLUMN renamed TO queue_name"))
    clock.advance(120)
    await intake.fold()
    assert await intake.notes_on_deliveries() == {"1": None, "2": None}


async def test_a_call_that_cannot_be_judged_delays_no_other(intake: Intake, database: Database) -> None:
    first, second = inbound_answered(), json.loads(json.dumps(inbound_answered()).replace("s-a0c1", "s-b0c1"))
    other = of_other({"all": json.loads(json.dumps(inbound_answered()).replace("s-a0c1", "s-c0c1"))})["all"]
    intake.clock.set(intake.clock.now().replace(minute=30))
    await intake.fold([*first, *second, *other])
    async with database.write() as db:
        damaged = calls.c.telephony_session_id == TELEPHONY_SESSION
        await db.execute(update(calls).where(damaged).values(facts=[{"of": "another version"}]))
        await db.execute(update(calls).values(end_check_at=intake.clock.now(), stage="live"))
    assert await intake.ends.step()
    stages = {call.telephony_session_id[:4]: call.stage for call in await intake.calls()}
    assert stages == {"s-a0": "live", "s-b0": "ended", "s-c0": "ended"}


async def test_an_account_whose_calls_cannot_be_judged_for_now_delays_no_other(
    intake: Intake, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await intake.fold([*inbound_answered(), *map(of_other, inbound_answered())])
    intake.clock.set(intake.clock.now().replace(minute=30))
    async with database.write() as db:
        await db.execute(update(calls).values(end_check_at=intake.clock.now(), stage="live"))
    real, door = intake.ends._judge_due, asyncio.Event()

    async def fails(_due: object) -> set[AccountId]:
        raise RuntimeError("not together")

    async def locked(account_id: AccountId, call_id: str | None = None) -> None:
        if account_id == ACCOUNT:
            await door.wait()
        await real(account_id, call_id)

    monkeypatch.setattr(intake.ends, "_judge_free", fails)
    monkeypatch.setattr(intake.ends, "_judge_due", locked)
    monkeypatch.setattr(intake.ends._judging, "_patience", 0.1)
    pauses = [await intake.ends.step() for _ in range(3)]
    stages = {call.account_id: call.stage for call in await intake.calls()}
    assert stages == {ACCOUNT: "live", OTHER: "ended"}
    assert all(pause is None or pause > 0 for pause in pauses[1:]), "the loop does not spin"
    door.set()
    async with asyncio.timeout(30):
        while {call.stage for call in await intake.calls()} != {"ended"}:
            await intake.ends.step()
            await asyncio.sleep(0.01)


async def test_the_ends_of_heavy_calls_are_judged_in_several_transactions(
    intake: Intake, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    alike = (json.loads(json.dumps(inbound_answered()).replace("s-a0c1", f"s-{n}0c1")) for n in "abcd")
    await intake.fold(payload for payloads in alike for payload in payloads)
    intake.clock.set(intake.clock.now().replace(minute=30))
    async with database.write() as db:
        await db.execute(update(calls).values(end_check_at=intake.clock.now(), stage="live"))
    monkeypatch.setattr(ends, "MOST_WORK", 2 * len((await intake.calls())[0].facts))
    assert await intake.ends.step() == 0.0
    assert sorted(call.stage for call in await intake.calls()) == ["ended", "ended", "live", "live"]
    await intake.ends.step()
    assert {call.stage for call in await intake.calls()} == {"ended"}
