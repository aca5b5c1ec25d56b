"""Every live call is settled, whichever events were lost in a gap and whichever requests fail."""

import random
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from app.calls.model import Stage
from app.db.tables import calls, credentials, sweeps
from app.errors import CredentialsRefused, RateLimited, RequestRefused, RingCentralUnreachable
from tests import factories
from tests.factories import received_at
from tests.integration.webhooks.conftest import Intake
from tests.integration.webhooks.subscriptions.test_gaps import note_gap

CALLS: tuple[Callable[[], list[dict[str, Any]]], ...] = (
    factories.inbound_answered,
    factories.voicemail,
    factories.parked_and_picked_up,
    factories.internal,
    factories.warm_transfer,
)


def failure(chance: random.Random, intake: Intake) -> Exception | None:
    soon = intake.clock.now() + timedelta(seconds=chance.randint(1, 90))
    return chance.choice(
        [
            None,
            None,
            RingCentralUnreachable("away"),
            RateLimited("slow down", retry_at=soon),
            RequestRefused("what?", status=400),
            CredentialsRefused("no"),
        ]
    )


async def play(intake: Intake, chance: random.Random) -> None:
    """Play a call with some of its events lost in a gap, and some of them late."""
    payloads = chance.choice(CALLS)()
    cut = chance.randint(1, len(payloads) - 1)
    received, rest = payloads[:cut], payloads[cut:]
    late = [event for event in rest[:-1] if chance.random() < 0.3]
    intake.clock.set(max(map(received_at, payloads)) + timedelta(seconds=1))
    await intake.fold(received)
    intake.clock.advance(chance.randint(5, 200))
    await note_gap(intake, (intake.clock.now() - received_at(received[-1])).total_seconds())
    for turn in range(40):
        intake.ringcentral.failure = failure(chance, intake) if turn < 20 else None
        if late and chance.random() < 0.2:
            await intake.fold([late.pop()])
        if chance.random() < 0.2:
            async with intake.database.write() as db:
                await db.execute(update(calls).values(version=calls.c.version + 1))
        async with intake.database.write() as db:  # somebody mends the credentials
            await db.execute(update(credentials).values(refused=None, access=None))
        await intake.pass_time(chance.choice((1, 5, 30, 60)))
    for _ in range(40):
        await intake.fold([late.pop()] if late else [])
        await intake.pass_time(60)


@pytest.mark.parametrize("seed", range(10))
async def test_every_call_that_was_live_in_a_gap_is_settled(intake: Intake, seed: int) -> None:
    await play(intake, random.Random(seed))
    assert {call.stage for call in await intake.calls()} <= {Stage.ENDED, Stage.ABSENT}
    async with intake.database.read() as db:
        assert await db.scalar(select(sweeps.c.asked_at)) is not None


async def test_a_call_known_by_its_session_id_alone_ends_at_the_stale_limit(intake: Intake) -> None:
    entry = factories.active_call("Ringing", telephonySessionId=None, partyId=None)
    await intake.fold([factories.presence(entry)])
    intake.clock.set(factories.NOON)
    for _ in range(6 * 13):
        await intake.pass_time(300)
    (call,) = await intake.calls()
    assert (call.stage, call.outcome) == (Stage.ENDED, "missed")
    asked = intake.ringcentral.asked
    assert asked, "its records were requested by its sessionId"
    assert not [one for one in asked if "sessionId:" in one], "never by a key that we made up"
