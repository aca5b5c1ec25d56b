"""Keeps the webhook subscription of one connection: finds it, creates it if missing, renews it in time.

RingCentral responds to a creation only after the handshake with our address (guide "Creating webhooks"), so
this runs beside a service that already accepts requests. The lifetime in the request is only a wish, the
`expirationTime` of the response counts. A subscription is renewed in the middle of its lifetime, or when
RingCentral reminds of its end. While none delivers, a gap is on record, and missed calls are looked for once
it is over.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import delete, select, update

from app.accounts.credentials import OWN
from app.calls import accounts
from app.db.engine import upsert_into
from app.db.tables import subscriptions, work
from app.enrichment import gaps
from app.errors import RequestRefused, RingCentralError
from app.ids import UNBOUND_ACCOUNT, AccountId
from app.ringcentral.client import RingCentralClient
from app.ringcentral.models import Subscription
from app.ringcentral.reachability import code_of
from app.webhooks.subscriptions.choice import (
    SHORTEST_PAUSE_SECONDS,
    Choice,
    Create,
    Keep,
    KnownSubscription,
    Update,
    Wanted,
    choose,
    describe_disabled,
    digest_of,
    find_outage,
    is_due,
    pause_after,
    renew_at,
)
from app.webhooks.subscriptions.remedies import advise
from app.work.context import WorkContext, Worker
from app.work.failures import log_failure
from app.work.leases import leased

KIND = "subscription"
TOO_MANY = "SUB-505"
_STATUSES = {
    gaps.Reason.MISSING: "Missing",
    gaps.Reason.EXPIRED: "Expired",
    gaps.Reason.SUSPENDED: "Suspended",
    gaps.Reason.REFUSED: "Refused",
}
"""The stored status of a subscription that delivers no more, until another one delivers."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Kept:
    """The subscription that delivers now, and whether it was created or its lifetime extended."""

    subscription: Subscription
    is_new: bool = False
    is_renewed: bool = True


class SubscriptionKeeper(Worker):
    """The background work that keeps the subscription of one connection, on one replica at a time."""

    def __init__(
        self,
        context: WorkContext,
        client: RingCentralClient,
        wanted: Wanted,
        *,
        check_seconds: float,
        holder: AccountId = UNBOUND_ACCOUNT,
        name: str = OWN,
        sweep_after_seconds: float = 60.0,
    ) -> None:
        super().__init__(context)
        self.client = client
        self.wanted = wanted
        self._lease = context.lease(holder, kind_of(name))
        self._check_seconds = check_seconds
        self._holder = holder
        self._name = name
        column = subscriptions.c
        self._rows = (column.account_id == holder) & (column.name == name)
        self._sweep_after = timedelta(seconds=sweep_after_seconds)
        self._failures = 0
        self.refusal: RingCentralError | None = None
        """Why the last step failed."""
        self.is_well = False
        """Whether the last step left a subscription that delivers."""

    async def step(self) -> float:
        """Check the subscription; return in how many seconds to check again."""
        async with leased(self._database, self._clock, self._lease) as is_ours:
            if is_ours:
                return await self._take_turn()
        # By then the replica that holds the lease has finished or crashed.
        return min(self._check_seconds, max(SHORTEST_PAUSE_SECONDS, self._lease.seconds))

    async def _take_turn(self) -> float:
        self.refusal, self.is_well = None, False
        try:
            subscription, due_at = await self._ensure_delivery()
        except RingCentralError as error:
            self.refusal = error
            return await self._fail(error)
        self._failures, self.is_well = 0, True
        await self._save_state(describe_disabled(subscription))
        left = self._check_seconds if due_at is None else (due_at - self._clock.now()).total_seconds()
        return min(self._check_seconds, max(SHORTEST_PAUSE_SECONDS, left))

    async def _ensure_delivery(self) -> tuple[Subscription, datetime | None]:
        """See to it that exactly one subscription delivers; return it with the time at which to renew it."""
        token = await self.client.fetch_token()
        asked_at = self._clock.now()
        found = await self.client.list_subscriptions()
        known = await self._load_known()
        useless = {known.subscription_id} if known and known.has_other_secret(self.wanted.token) else set()
        kept: _Kept | None = None
        while kept is None:
            now = self._clock.now()
            choice = choose(found, self.wanted, now, token.owner_id, useless)
            # The gap is stored first: whatever fails from here on, the missed time is swept.
            await self._record_outage(known, found, now)
            kept = await self._carry_out(choice, known, now)
            if not isinstance(choice, Create):  # without a result, it has ended since it was listed
                found = tuple(item for item in found if item.id != choice.subscription.id)
        due_at = await self._save(kept, known, asked_at)
        # Deleted last: until here a surplus subscription may be the only one that delivers.
        for item in choice.surplus:
            await self.client.delete_subscription(item.id)
            log.info("deleted a surplus subscription", subscription_id=item.id, status=item.status)
        return kept.subscription, due_at

    async def _carry_out(
        self, choice: Choice, known: KnownSubscription | None, now: datetime
    ) -> _Kept | None:
        """Do what was chosen; None when the subscription does not exist any more."""
        match choice:
            case Keep(subscription=kept) if not is_due(kept, known, now):
                return _Kept(kept, is_renewed=False)
            case Keep(subscription=kept) if not kept.disabled_filters:
                renewed = await self.client.renew_subscription(kept.id)
            case Keep(subscription=kept) | Update(subscription=kept):
                renewed = await self.client.update_subscription(
                    kept.id, self.wanted.filters, self.wanted.expires_in_seconds
                )
            case Create(surplus=dead):
                return _Kept(await self._create(dead), is_new=True)
        if renewed is None:
            return None
        log.info(
            "renewed the subscription", subscription_id=renewed.id, expires_at=str(renewed.expiration_time)
        )
        return _Kept(renewed)

    async def _create(self, dead: Sequence[Subscription]) -> Subscription:
        wanted = self.wanted
        arguments = (wanted.filters, wanted.address, wanted.token, wanted.expires_in_seconds)
        try:
            created = await self.client.create_subscription(*arguments)
        except RequestRefused as refusal:
            if refusal.code != TOO_MANY or not dead:
                raise
            # Subscriptions that deliver nothing use up the limit: make room for the new one.
            for item in dead:
                await self.client.delete_subscription(item.id)
            created = await self.client.create_subscription(*arguments)
        log.info(
            "created the subscription", subscription_id=created.id, expires_at=str(created.expiration_time)
        )
        return created

    async def _load_known(self) -> KnownSubscription | None:
        """Return what was last stored about the subscription of this connection."""
        column = subscriptions.c
        query = select(
            column.subscription_id, column.checked_at, column.expires_at, column.renew_at,
            column.token_digest, column.refused_since,
        ).where(self._rows).order_by(column.checked_at.desc())  # fmt: skip
        async with self._database.read() as db:
            row = (await db.execute(query.limit(1))).one_or_none()
        return None if row is None else KnownSubscription(**row._mapping)  # noqa: SLF001 - documented

    async def _record_outage(
        self, known: KnownSubscription | None, found: Sequence[Subscription], now: datetime
    ) -> None:
        """Store a gap if the known subscription delivers no more.

        A subscription that RingCentral suspended had failed for a while before, although it was listed as
        active. Only until the last call that an event announced is it certain that events came.
        """
        outage = find_outage(known, found, self.wanted, now)
        if outage is None or known is None:
            return
        reason, since = outage
        detail = next((item.blacklisted_reason for item in found if item.id == known.subscription_id), None)
        async with self._database.write() as db:
            if reason is gaps.Reason.SUSPENDED:
                last_at = await gaps.last_announced_at(db, await accounts.resolve(db, self._holder))
                since = min(since, last_at or since)
            await gaps.note_gap(
                db, self._holder, reason, since, None, now, sweep_after=self._sweep_after, detail=detail
            )
            mine = subscriptions.c.subscription_id == known.subscription_id
            await db.execute(
                update(subscriptions)
                .where(subscriptions.c.account_id == self._holder, mine)
                .values(status=_STATUSES[reason])
            )
        log.warning("no subscription delivers", why=reason.value, since=str(since), detail=detail)

    async def _save(
        self, kept: _Kept, known: KnownSubscription | None, asked_at: datetime
    ) -> datetime | None:
        """Store what delivers, as listed at `asked_at`, and end the gap. Return when to renew it."""
        now, subscription = self._clock.now(), kept.subscription
        due_at = renew_at(subscription, now)
        if not kept.is_renewed and known is not None and known.subscription_id == subscription.id:
            due_at = known.renew_at if known.expires_at == subscription.expiration_time else due_at
        refused = [
            {"filter": item.filter, "reason": item.reason, "message": item.message}
            for item in subscription.disabled_filters
        ]
        row: dict[str, Any] = {
            "account_id": self._holder,
            "subscription_id": subscription.id,
            "name": self._name,
            "address": self.wanted.address,
            "filters": list(subscription.event_filters),
            "disabled_filters": refused or None,
            "status": subscription.status or "unknown",
            "expires_at": subscription.expiration_time,
            "renew_at": due_at,
            "checked_at": asked_at,
        }
        if kept.is_new:
            row |= {"token_digest": digest_of(self.wanted.token), "refused_since": None}
        subscription_id = subscriptions.c.subscription_id
        async with self._database.write() as db:
            # Subscriptions by id, then gaps: the heartbeat locks rows in the same order.
            await db.execute(
                select(subscription_id).where(self._rows).order_by(subscription_id).with_for_update()
            )
            insert = upsert_into(db, subscriptions).values(row)
            await db.execute(
                insert.on_conflict_do_update(index_elements=["account_id", "subscription_id"], set_=row)
            )
            await db.execute(delete(subscriptions).where(self._rows, subscription_id != subscription.id))
            await gaps.end_gaps(db, self._holder, now, self._sweep_after)
        return due_at

    async def _fail(self, error: RingCentralError) -> float:
        self._failures += 1
        now = self._clock.now()
        pause = pause_after(self._failures, error, now)
        log_failure(log, "the subscription could not be checked", error, seconds=pause)
        detail = advise(error.code, error.detail)
        await self._save_state({"code": code_of(error), "detail": detail, "since": now.isoformat()})
        return pause

    async def _save_state(self, problem: dict[str, str | None] | None) -> None:
        """Store the problem ({code, detail, since}, or None) where operators see it."""
        async with self._database.write() as db:
            values = {"failures": self._failures, "state": {"problem": problem}}
            await db.execute(update(work).where(self._lease.held).values(values))


def kind_of(name: str) -> str:
    """Return the kind of the row in `work` for one connection's subscription."""
    return KIND if name == OWN else f"{KIND}:{name}"


def name_of(kind: str) -> str:
    """Return the connection's name of such a row."""
    return kind.partition(":")[2] or OWN
