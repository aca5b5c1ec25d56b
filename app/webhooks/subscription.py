"""Keeps the webhook subscription: finds ours, makes one where there is none, renews it in time.

RingCentral answers a creation only after it has shaken hands with our address (guide "Creating webhooks"), so
this runs beside a service that already serves. The lifetime that was asked for means nothing, the
`expirationTime` of the answer does; a subscription is renewed when half of its life is gone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import delete, or_, select, update

from app.clock import Clock
from app.db.engine import Database, upsert_into
from app.db.tables import subscriptions, work
from app.errors import RingCentralError
from app.ids import UNBOUND_ACCOUNT
from app.ringcentral.client import RingCentralClient
from app.ringcentral.models import DisabledFilter, Subscription
from app.ringcentral.protocol import has_same_filters

KIND = "subscription"
_FIRST_PAUSE_SECONDS = 2.0
_LONGEST_PAUSE_SECONDS = 120.0
_SHORTEST_CHECK_SECONDS = 1.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The subscription as it should be."""

    address: str
    filters: tuple[str, ...]
    token: str
    expires_in_seconds: int


@dataclass(frozen=True, slots=True)
class Keep:
    """This one is right. `surplus` deliver everything once more."""

    subscription: Subscription
    surplus: tuple[Subscription, ...] = ()


@dataclass(frozen=True, slots=True)
class Update:
    """This one is ours and alive, but listens to other filters."""

    subscription: Subscription
    surplus: tuple[Subscription, ...] = ()


@dataclass(frozen=True, slots=True)
class Create:
    """There is none that delivers. `dead` are ours and do not."""

    dead: tuple[Subscription, ...] = ()


def choose(
    found: Sequence[Subscription], wanted: Wanted, now: datetime, own_extension_id: str | None
) -> Keep | Update | Create:
    """Say what to do, given all subscriptions of this user and app; those of other addresses are not ours."""
    ours = [item for item in found if item.is_webhook and (item.address or "").rstrip("/") == wanted.address]
    alive = [
        item
        for item in ours
        if item.is_active and (item.expiration_time is None or item.expiration_time > now)
    ]
    alive.sort(key=lambda item: (item.expiration_time or now, item.id), reverse=True)
    fitting = [item for item in alive if _listens_to(item, wanted, own_extension_id)]
    best = next(iter(fitting or alive), None)
    others = tuple(item for item in ours if item is not best)
    if best is None:
        return Create(others)
    return Keep(best, others) if fitting else Update(best, others)


def _listens_to(item: Subscription, wanted: Wanted, own_extension_id: str | None) -> bool:
    refused = {refused.filter for refused in item.disabled_filters}
    return has_same_filters(wanted.filters, {*item.event_filters, *refused}, own_extension_id)


def renew_at(subscription: Subscription, now: datetime) -> datetime | None:
    """Return when half of what is left of its life is gone; None when it does not say when it ends."""
    if subscription.expiration_time is None:
        return None
    return now + (subscription.expiration_time - now) / 2


class SubscriptionKeeper:
    """The background work that keeps the subscription; one replica at a time does it."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        client: RingCentralClient,
        wanted: Wanted,
        *,
        replica: str,
        check_seconds: float,
        lease_seconds: float,
    ) -> None:
        self._database = database
        self._clock = clock
        self._client = client
        self._wanted = wanted
        self._replica = replica
        self._check_seconds = check_seconds
        self._lease_seconds = lease_seconds
        self._failures = 0

    async def step(self) -> float | None:
        """Look after the subscription; say in how many seconds to look again."""
        if not await self._take_turn():
            return self._check_seconds
        try:
            subscription = await self._look_after()
        except RingCentralError as error:
            return await self._failed(error)
        self._failures = 0
        pause = self._check_seconds
        due_at = renew_at(subscription, self._clock.now())
        if due_at is not None:
            pause = min(pause, max(_SHORTEST_CHECK_SECONDS, (due_at - self._clock.now()).total_seconds()))
        await self._give_back(pause, {"problem": _disabled(subscription)})
        return pause

    async def _look_after(self) -> Subscription:
        token = await self._client.fetch_token()
        found = await self._client.list_subscriptions()
        now = self._clock.now()
        choice = choose(found, self._wanted, now, token.owner_id)
        match choice:
            case Keep(subscription=kept):
                subscription = await self._renewed(kept) if await self._is_due(kept, now) else kept
            case Update(subscription=other):
                subscription = await self._updated(other)
            case Create():
                subscription = await self._created()
        surplus = choice.dead if isinstance(choice, Create) else choice.surplus
        for item in surplus:
            await self._client.delete_subscription(item.id)
            log.info("deleted a surplus subscription", subscription_id=item.id, status=item.status)
        await self._save(subscription)
        return subscription

    async def _is_due(self, subscription: Subscription, now: datetime) -> bool:
        async with self._database.read() as db:
            planned = await db.scalar(
                select(subscriptions.c.renew_at).where(
                    subscriptions.c.account_id == UNBOUND_ACCOUNT,
                    subscriptions.c.subscription_id == subscription.id,
                )
            )
        if planned is not None:
            return bool(planned <= now)
        # Adopted: how long it was meant to live is not known, so renew it once and know.
        return subscription.expiration_time is not None

    async def _renewed(self, subscription: Subscription) -> Subscription:
        renewed = await self._client.renew_subscription(subscription.id)
        if renewed is None:
            return await self._created()
        log.info(
            "renewed the subscription", subscription_id=renewed.id, expires_at=str(renewed.expiration_time)
        )
        return renewed

    async def _updated(self, subscription: Subscription) -> Subscription:
        wanted = self._wanted
        updated = await self._client.update_subscription(
            subscription.id, wanted.filters, wanted.expires_in_seconds
        )
        return updated if updated is not None else await self._created()

    async def _created(self) -> Subscription:
        wanted = self._wanted
        created = await self._client.create_subscription(
            wanted.filters, wanted.address, wanted.token, wanted.expires_in_seconds
        )
        log.info(
            "created the subscription", subscription_id=created.id, expires_at=str(created.expiration_time)
        )
        return created

    async def _save(self, subscription: Subscription) -> None:
        now = self._clock.now()
        row = {
            "account_id": UNBOUND_ACCOUNT,
            "subscription_id": subscription.id,
            "address": self._wanted.address,
            "filters": list(subscription.event_filters),
            "disabled_filters": [_refused_json(item) for item in subscription.disabled_filters] or None,
            "status": subscription.status or "unknown",
            "expires_at": subscription.expiration_time,
            "checked_at": now,
        }
        async with self._database.write() as db:
            known = await db.execute(
                select(subscriptions.c.expires_at, subscriptions.c.renew_at).where(
                    subscriptions.c.account_id == UNBOUND_ACCOUNT,
                    subscriptions.c.subscription_id == subscription.id,
                )
            )
            before = known.one_or_none()
            is_same_life = before is not None and before.expires_at == subscription.expiration_time
            row["renew_at"] = before.renew_at if is_same_life and before else renew_at(subscription, now)
            insert = upsert_into(db, subscriptions).values(row)
            await db.execute(
                insert.on_conflict_do_update(index_elements=["account_id", "subscription_id"], set_=row)
            )
            others = (subscriptions.c.account_id == UNBOUND_ACCOUNT) & (
                subscriptions.c.subscription_id != subscription.id
            )
            await db.execute(delete(subscriptions).where(others))

    async def _failed(self, error: RingCentralError) -> float:
        self._failures += 1
        pause = min(_LONGEST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2.0 ** (self._failures - 1))
        log.warning(
            "the subscription could not be looked after", why=error.detail, code=error.code, seconds=pause
        )
        problem = {"code": error.code, "detail": error.detail, "since": self._clock.now().isoformat()}
        await self._give_back(pause, {"problem": problem})
        return pause

    async def _take_turn(self) -> bool:
        now = self._clock.now()
        async with self._database.write() as db:
            fresh = upsert_into(db, work).values(account_id=UNBOUND_ACCOUNT, kind=KIND)
            await db.execute(fresh.on_conflict_do_nothing())
            free = or_(
                work.c.lease_until.is_(None), work.c.lease_until < now, work.c.lease_owner == self._replica
            )
            taken = await db.execute(
                update(work)
                .where(work.c.account_id == UNBOUND_ACCOUNT, work.c.kind == KIND, free)
                .values(lease_owner=self._replica, lease_until=now + timedelta(seconds=self._lease_seconds))
            )
        return taken.rowcount == 1

    async def _give_back(self, pause: float, state: dict[str, Any]) -> None:
        now = self._clock.now()
        async with self._database.write() as db:
            await db.execute(
                update(work)
                .where(
                    work.c.account_id == UNBOUND_ACCOUNT,
                    work.c.kind == KIND,
                    work.c.lease_owner == self._replica,
                )
                .values(
                    lease_until=now,
                    due_at=now + timedelta(seconds=pause),
                    failures=self._failures,
                    state=state,
                )
            )


def _refused_json(refused: DisabledFilter) -> dict[str, Any]:
    return {"filter": refused.filter, "reason": refused.reason, "message": refused.message}


def _disabled(subscription: Subscription) -> dict[str, Any] | None:
    if not subscription.disabled_filters:
        return None
    words = "; ".join(
        f"{item.filter}: {item.message or item.reason}" for item in subscription.disabled_filters
    )
    return {"code": "disabled-filters", "detail": f"RingCentral refuses some event filters: {words}"}
