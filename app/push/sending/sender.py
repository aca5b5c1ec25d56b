"""The loop that sends messages: each endpoint in a lane of its own, so that a slow one delays no other.

Within an endpoint the changes of one call are sent one after the other, and those of different calls at the
same time. A turn is short, so endpoints take turns when there are many.
"""

import asyncio
import random
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import NamedTuple

from app.db.tables import webhook_endpoints
from app.errors import StorageUnavailable
from app.push.endpoints.model import EndpointKey
from app.push.sending.bodies import UNREADABLE, make_request
from app.push.sending.client import WebhookClient
from app.push.sending.outcomes import Outcomes, Release, Result
from app.push.sending.pace import Paces
from app.push.sending.retry_plan import ends_turn, next_attempt, place_of, requests_at_once
from app.push.sending.turns import Message, Taken, Turn, take_turns
from app.vault import Vault
from app.work import wakeups
from app.work.backoff import Backoff
from app.work.context import WorkContext, Worker
from app.work.lanes import Lanes
from app.work.leases import Lease, renewing

AT_ONCE = 200
"""Endpoints that one process sends to at the same time."""

_TAKEN_AT_ONCE = 50
_TURN_SECONDS = 5.0
_LONGEST_SECONDS = 120.0
_PATIENCE_SECONDS = 0.02
_LOCKED = Backoff(first=0.02, longest=1.0)
_LEASE_SECONDS = 20.0
"""Longer than the longest request, so that a stalled renewal does not make another replica send as well."""


class _Sent(NamedTuple):
    """What became of a message: `is_settled` if the next of its call may follow."""

    is_settled: bool
    ends_turn: bool


class Sender(Worker):
    """Sends what is due. `luck` returns random numbers from 0 to 1, for the jitter of retries."""

    def __init__(
        self,
        context: WorkContext,
        vault: Vault,
        client: WebhookClient,
        luck: Callable[[], float] = random.random,
    ) -> None:
        super().__init__(context)
        self._vault = vault
        self._client = client
        self._luck = luck
        self._looks_in_vain = 0
        self._paces: Paces[EndpointKey] = Paces(context.clock)
        self._outcomes = Outcomes(context.database, context.clock, context.replica, luck)
        self._lanes: Lanes[EndpointKey] = context.lanes(
            "webhooks",
            wakeups.PUSH,
            longest_seconds=_LONGEST_SECONDS,
            at_once=AT_ONCE,
            patience_seconds=_PATIENCE_SECONDS,
            account_of=lambda key: key.account_id,
        )

    async def step(self) -> float | None:
        """Take endpoints that have due messages and send; return 0 while there may be more to take."""
        busy = self._lanes.keys()
        limit = min(_TAKEN_AT_ONCE, AT_ONCE - len(busy))
        taken = Taken()
        if limit > 0:
            async with self._database.write() as db:
                taken = await take_turns(db, self._replica, _LEASE_SECONDS, busy, limit, self._clock.now())
        pause = await self._lanes.run({turn.key: partial(self._serve, turn) for turn in taken.turns})
        if len(taken.turns) == _TAKEN_AT_ONCE:
            return 0.0
        return self._look_again(pause, are_locked=taken.are_others_locked)

    def _look_again(self, pause: float | None, *, are_locked: bool) -> float | None:
        """Return the pause before the next step: a short one while others have locked what is due.

        The wake-up for it has come, and no other follows when the lock is gone.
        """
        self._looks_in_vain = self._looks_in_vain + 1 if are_locked else 0
        if not are_locked:
            return pause
        again = _LOCKED.pause(self._looks_in_vain)
        return again if pause is None else min(pause, again)

    async def close(self) -> None:
        """Stop at once. What was being sent is sent again by whoever continues."""
        await self._lanes.close()

    async def _serve(self, turn: Turn) -> float | None:
        key = turn.key
        row = {"account_id": key.account_id, "endpoint_id": key.endpoint_id}
        lease = Lease(webhook_endpoints, row, self._replica, _LEASE_SECONDS, f"the webhook endpoint {key}")
        try:
            async with renewing(self._database, self._clock, lease):
                await self._send_all(turn)
            has_more = await self._outcomes.record(Release(key))
        except BaseException:
            # Another replica, or the next turn of this one, continues at once.
            with suppress(StorageUnavailable):
                async with self._database.write() as db:
                    await lease.drop(db)
            raise
        return 0.0 if has_more else None

    async def _send_all(self, turn: Turn) -> None:
        """Send the messages of a turn, as many at once as the endpoint takes.

        A failure of the endpoint ends the turn: what was not tried yet has no attempt counted.
        """
        condition = turn.endpoint.condition
        ordered = sorted(chains_of(turn.messages), key=lambda one: place_of(one[0].attempts, condition))
        chains = deque(ordered)
        pace = self._paces.of(turn.key, turn.endpoint.rules.per_second)
        until = self._clock.monotonic() + _TURN_SECONDS
        is_over = False

        async def send_chains() -> None:
            nonlocal is_over
            while chains:
                for message in chains.popleft():
                    if self._clock.monotonic() >= until:
                        return
                    await pace.wait()
                    if is_over:
                        return
                    sent = await self._send(turn, message)
                    is_over = is_over or sent.ends_turn
                    if not sent.is_settled:
                        break

        at_once = min(requests_at_once(turn.endpoint.rules.at_once, condition), len(chains))
        if at_once == 1:
            await send_chains()
            return
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(at_once):
                    group.create_task(send_chains())
        except ExceptionGroup as failed:
            # The lane knows an outage of the database by its type.
            raise failed.exceptions[0] from None

    async def _send(self, turn: Turn, message: Message) -> _Sent:
        """Send one message and write what became of it."""
        started_at, started = self._clock.now(), self._clock.monotonic()
        if message.change is None:
            await self._outcomes.record(Result(message, None, started_at))
            return _Sent(is_settled=True, ends_turn=False)
        made = await make_request(self._database, self._vault, turn, message, started_at)
        answer = UNREADABLE if made is None else await self._client.post(turn.endpoint.url, *made)
        seconds = self._clock.monotonic() - started
        next_at = None
        if not answer.is_success:
            number, condition = message.attempts + 1, turn.endpoint.condition
            next_at = next_attempt(answer, number, self._clock.now(), self._luck(), condition)
        await self._outcomes.record(Result(message, answer, started_at, seconds, next_at))
        return _Sent(next_at is None, ends_turn(answer, turn.endpoint.condition))


def chains_of(messages: Sequence[Message]) -> list[list[Message]]:
    """Group messages by call, each call's in order."""
    chains: dict[str | None, list[Message]] = {}
    for message in messages:
        chains.setdefault(message.call_id, []).append(message)
    return list(chains.values())
