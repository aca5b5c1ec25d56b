"""Keeps the webhook subscriptions: finds ours, makes one where there is none, renews it in time.

RingCentral answers a creation only after it has shaken hands with our address (guide "Creating webhooks"), so
this runs beside a service that already serves. The lifetime that was asked for means nothing, the
`expirationTime` of the answer does; a subscription is renewed when half of its life is gone, or when RingCentral
reminds of its end. While none delivers, a gap is on record, and what it cost is looked for once it is over.
"""

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import and_, delete, select, update

from app.calls import accounts
from app.clock import Clock
from app.db.engine import Database, upsert_into
from app.db.tables import subscriptions, work
from app.enrichment import gaps
from app.enrichment.credentials import OWN
from app.enrichment.gaps import Reason
from app.errors import RequestRefused, RingCentralError
from app.ids import UNBOUND_ACCOUNT, AccountId
from app.ringcentral.client import RingCentralClient
from app.ringcentral.models import DisabledFilter, Subscription
from app.ringcentral.protocol import has_same_filters
from app.webhooks.advice import advise
from app.work.leases import Lease, leased

KIND = "subscription"
TOO_MANY = "SUB-505"
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What was written down of a subscription when it was last found well."""

    subscription_id: str
    checked_at: datetime
    expires_at: datetime | None = None
    renew_at: datetime | None = None
    token_digest: str | None = None
    refused_since: datetime | None = None

    def has_other_secret(self, token: str) -> bool:
        """Whether its deliveries carry, or would carry, another secret than ours: adopted, or ours was changed."""
        return self.refused_since is not None or self.token_digest not in (None, digest_of(token))


def digest_of(token: str) -> str:
    """Name a secret without telling it."""
    return hashlib.sha256(token.encode()).hexdigest()


def choose(
    found: Sequence[Subscription],
    wanted: Wanted,
    now: datetime,
    own_extension_id: str | None,
    useless: Collection[str] = (),
) -> Keep | Update | Create:
    """Say what to do, given all subscriptions of this user and app; those of other addresses are not ours.

    `useless` are ids of subscriptions that deliver with another secret.
    """
    ours = [item for item in found if item.is_webhook and (item.address or "").rstrip("/") == wanted.address]
    alive = [
        item
        for item in ours
        if item.is_active
        and item.id not in useless
        and (item.expiration_time is None or item.expiration_time > now)
    ]
    alive.sort(key=lambda item: (item.expiration_time or now, item.id), reverse=True)
    fitting = [item for item in alive if _listens_to(item, wanted, own_extension_id)]
    best = next(iter(fitting or alive), None)
    others = tuple(item for item in ours if item is not best)
    if best is None:
        return Create(others)
    return Keep(best, others) if fitting else Update(best, others)


def deaf_since(
    known: Known | None,
    dead: Sequence[Subscription],
    last_heard_at: datetime | None,
    token: str,
    now: datetime,
) -> tuple[Reason, datetime] | None:
    """Say why no event comes and since when, given that no subscription delivers now; None: none ever did.

    One that RingCentral suspended had failed for a while before, although it was called active: only until the
    last call that an event told of is it certain that events came.
    """
    if known is None:
        return None
    if known.has_other_secret(token):
        return Reason.REFUSED, known.refused_since or known.checked_at
    if any(item.id == known.subscription_id and not item.is_active for item in dead):
        return Reason.SUSPENDED, min(known.checked_at, last_heard_at or known.checked_at)
    if known.expires_at is not None and known.expires_at <= now:
        return Reason.EXPIRED, max(known.checked_at, known.expires_at)
    return Reason.MISSING, known.checked_at


def of_extension(filters: Sequence[str]) -> tuple[str, ...]:
    """Return the filters that a user without rights to the whole account may have: those of his own extension."""
    return tuple(
        item
        if "/extension/" in item
        else item.replace("/account/~/telephony/", "/account/~/extension/~/telephony/").replace(
            "/account/~/presence", "/account/~/extension/~/presence"
        )
        for item in filters
    )


def _listens_to(item: Subscription, wanted: Wanted, own_extension_id: str | None) -> bool:
    refused = {refused.filter for refused in item.disabled_filters}
    return has_same_filters(wanted.filters, {*item.event_filters, *refused}, own_extension_id)


def renew_at(subscription: Subscription, now: datetime) -> datetime | None:
    """Return when half of what is left of its life is gone; None when it does not say when it ends."""
    if subscription.expiration_time is None:
        return None
    return now + (subscription.expiration_time - now) / 2


class SubscriptionKeeper:
    """The background work that keeps the subscription of one connection; one replica at a time does it."""

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
        holder: AccountId = UNBOUND_ACCOUNT,
        name: str = OWN,
        sweep_after_seconds: float = 60.0,
    ) -> None:
        self._database = database
        self._clock = clock
        self.client = client
        self.wanted = wanted
        self._lease = Lease(holder, kind_of(name), replica, lease_seconds)
        self._check_seconds = check_seconds
        self._holder = holder
        self._name = name
        self._sweep_after = timedelta(seconds=sweep_after_seconds)
        self._failures = 0
        self.refusal: RingCentralError | None = None
        """What the last step failed of."""

    async def step(self) -> float:
        """Look after the subscription; say in how many seconds to look again."""
        async with leased(self._database, self._clock, self._lease) as is_ours:
            return await self._take_turn() if is_ours else self._check_seconds

    async def _take_turn(self) -> float:
        self.refusal = None
        try:
            subscription = await self._look_after()
        except RingCentralError as error:
            self.refusal = error
            return await self._failed(error)
        self._failures = 0
        pause = self._check_seconds
        due_at = renew_at(subscription, self._clock.now())
        if due_at is not None:
            pause = min(pause, max(_SHORTEST_CHECK_SECONDS, (due_at - self._clock.now()).total_seconds()))
        await self._tell(_disabled(subscription))
        return pause

    async def _look_after(self) -> Subscription:
        token = await self.client.fetch_token()
        found = await self.client.list_subscriptions()
        now = self._clock.now()
        known = await self._load_known()
        useless = {known.subscription_id} if known and known.has_other_secret(self.wanted.token) else set()
        choice = choose(found, self.wanted, now, token.owner_id, useless)
        is_new = is_renewed = False
        match choice:
            case Keep(subscription=kept):
                subscription = kept
                if _is_due(kept, known, now):
                    subscription, is_new = await self._renewed(kept)
                    is_renewed = True
            case Update(subscription=other):
                subscription, is_new = await self._updated(other)
                is_renewed = True
            case Create(dead=dead):
                await self._note_deaf(known, dead, now)
                subscription, is_new = await self._created(dead), True
        await self._save(subscription, known, is_new=is_new, is_renewed=is_renewed)
        for item in choice.dead if isinstance(choice, Create) else choice.surplus:
            await self.client.delete_subscription(item.id)
            log.info("deleted a surplus subscription", subscription_id=item.id, status=item.status)
        return subscription

    async def _load_known(self) -> Known | None:
        """Return what was last written down of the subscription that this connection keeps."""
        column = subscriptions.c
        query = select(
            column.subscription_id, column.checked_at, column.expires_at, column.renew_at, column.token_digest,
            column.refused_since,
        ).where(column.account_id == self._holder, column.name == self._name).order_by(column.checked_at.desc())  # fmt: skip
        async with self._database.read() as db:
            row = (await db.execute(query.limit(1))).one_or_none()
        return None if row is None else Known(**row._mapping)  # noqa: SLF001 - the documented way to keywords

    async def _note_deaf(self, known: Known | None, dead: Sequence[Subscription], now: datetime) -> None:
        """Write down that no event comes, before anything is tried against it."""
        async with self._database.write() as db:
            heard_at = await gaps.last_heard_at(db, await accounts.resolve(db, self._holder))
            gap = deaf_since(known, dead, heard_at, self.wanted.token, now)
            if gap is None:
                return
            reason, since = gap
            why = next((item.blacklisted_reason for item in dead if item.blacklisted_reason), None)
            await gaps.note_gap(
                db, self._holder, reason, since, None, now, sweep_after=self._sweep_after, detail=why
            )
        log.warning("no subscription delivers", why=reason.value, since=str(since), told=why)

    async def _renewed(self, subscription: Subscription) -> tuple[Subscription, bool]:
        renewed = await self.client.renew_subscription(subscription.id)
        if renewed is None:
            return await self._created(), True
        log.info(
            "renewed the subscription", subscription_id=renewed.id, expires_at=str(renewed.expiration_time)
        )
        return renewed, False

    async def _updated(self, subscription: Subscription) -> tuple[Subscription, bool]:
        wanted = self.wanted
        updated = await self.client.update_subscription(
            subscription.id, wanted.filters, wanted.expires_in_seconds
        )
        return (updated, False) if updated is not None else (await self._created(), True)

    async def _created(self, dead: Sequence[Subscription] = ()) -> Subscription:
        wanted = self.wanted
        arguments = (wanted.filters, wanted.address, wanted.token, wanted.expires_in_seconds)
        try:
            created = await self.client.create_subscription(*arguments)
        except RequestRefused as refusal:
            if refusal.code != TOO_MANY or not dead:
                raise
            # Those that deliver nothing take the room of the one that would.
            for item in dead:
                await self.client.delete_subscription(item.id)
            created = await self.client.create_subscription(*arguments)
        log.info(
            "created the subscription", subscription_id=created.id, expires_at=str(created.expiration_time)
        )
        return created

    async def _save(
        self, subscription: Subscription, known: Known | None, *, is_new: bool, is_renewed: bool
    ) -> None:
        """Write down that this one delivers; a gap that there was is over."""
        now = self._clock.now()
        before = known if known is not None and known.subscription_id == subscription.id else None
        is_same_life = (
            not is_renewed and before is not None and before.expires_at == subscription.expiration_time
        )
        row: dict[str, Any] = {
            "account_id": self._holder,
            "subscription_id": subscription.id,
            "name": self._name,
            "address": self.wanted.address,
            "filters": list(subscription.event_filters),
            "disabled_filters": [_refused_json(item) for item in subscription.disabled_filters] or None,
            "status": subscription.status or "unknown",
            "expires_at": subscription.expiration_time,
            "renew_at": before.renew_at if before and is_same_life else renew_at(subscription, now),
            "checked_at": now,
        }
        if is_new:
            row |= {"token_digest": digest_of(self.wanted.token), "refused_since": None}
        column = subscriptions.c
        mine = (column.account_id == self._holder) & (column.name == self._name)
        async with self._database.write() as db:
            # Subscriptions by id, then gaps: the order in which the pulse locks rows.
            await db.execute(
                select(column.subscription_id).where(mine).order_by(column.subscription_id).with_for_update()
            )
            insert = upsert_into(db, subscriptions).values(row)
            await db.execute(
                insert.on_conflict_do_update(index_elements=["account_id", "subscription_id"], set_=row)
            )
            await db.execute(delete(subscriptions).where(mine, column.subscription_id != subscription.id))
            await gaps.end_gaps(db, self._holder, now, self._sweep_after)

    async def _failed(self, error: RingCentralError) -> float:
        self._failures += 1
        pause = min(_LONGEST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2.0 ** (self._failures - 1))
        log.warning(
            "the subscription could not be looked after", why=error.detail, code=error.code, seconds=pause
        )
        problem = {
            "code": error.code,
            "detail": advise(error.code, error.detail),
            "since": self._clock.now().isoformat(),
        }
        await self._tell(problem)
        return pause

    async def _tell(self, problem: dict[str, Any] | None) -> None:
        """Write down how it stands, for whoever watches."""
        async with self._database.write() as db:
            mine = and_(
                work.c.account_id == self._holder,
                work.c.kind == self._lease.kind,
                work.c.lease_owner == self._lease.replica,
            )
            await db.execute(
                update(work).where(mine).values(failures=self._failures, state={"problem": problem})
            )


def kind_of(name: str) -> str:
    """Name the row of `work` of one connection's subscription."""
    return KIND if name == OWN else f"{KIND}:{name}"


def _is_due(subscription: Subscription, known: Known | None, now: datetime) -> bool:
    if known is not None and known.subscription_id == subscription.id and known.renew_at is not None:
        return known.renew_at <= now
    # Adopted: how long it was meant to live is not known, so renew it once and know.
    return subscription.expiration_time is not None


def _refused_json(refused: DisabledFilter) -> dict[str, Any]:
    return {"filter": refused.filter, "reason": refused.reason, "message": refused.message}


def _disabled(subscription: Subscription) -> dict[str, Any] | None:
    if not subscription.disabled_filters:
        return None
    words = "; ".join(
        f"{item.filter}: {item.message or item.reason}" for item in subscription.disabled_filters
    )
    return {"code": "disabled-filters", "detail": f"RingCentral refuses some event filters: {words}"}
