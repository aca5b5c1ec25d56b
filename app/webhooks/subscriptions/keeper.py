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
from sqlalchemy import delete, select, update

from app.accounts.credentials import OWN
from app.calls import accounts
from app.db.engine import upsert_into
from app.db.tables import subscriptions, work
from app.enrichment.call_log import gaps
from app.enrichment.call_log.gaps import Reason
from app.errors import RateLimited, RequestRefused, RingCentralError
from app.ids import UNBOUND_ACCOUNT, AccountId
from app.ringcentral.client import RingCentralClient
from app.ringcentral.models import DisabledFilter, Subscription
from app.ringcentral.protocol import has_same_filters
from app.ringcentral.reachability import code_of
from app.webhooks.subscriptions.remedies import advise
from app.work.backoff import Backoff
from app.work.context import WorkContext, Worker
from app.work.failures import log_failure
from app.work.leases import leased

KIND = "subscription"
TOO_MANY = "SUB-505"
_BACKOFF = Backoff(first=2.0, longest=120.0)
_SHORTEST_CHECK_SECONDS = 1.0
_ASK_REFUSED_AGAIN = timedelta(hours=1)
_STATUSES = {
    Reason.MISSING: "Missing",
    Reason.EXPIRED: "Expired",
    Reason.SUSPENDED: "Suspended",
    Reason.REFUSED: "Refused",
}
"""The status under which a subscription that delivers no more is remembered, until another one delivers."""

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
class KnownSubscription:
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
    ours = [item for item in found if _calls_us(item, wanted)]
    alive = [item for item in ours if item.is_active and item.id not in useless and _lives(item, now)]
    alive.sort(key=lambda item: (item.expiration_time or now, item.id), reverse=True)
    fitting = [item for item in alive if _listens_to(item, wanted, own_extension_id)]
    best = next(iter(fitting or alive), None)
    others = tuple(item for item in ours if item is not best)
    if best is None:
        return Create(others)
    return Keep(best, others) if fitting else Update(best, others)


def why_deaf(
    known: KnownSubscription | None, found: Sequence[Subscription], wanted: Wanted, now: datetime
) -> tuple[Reason, datetime] | None:
    """Say why the known subscription delivers no more and since when; None when it does, or none is known.

    One of RingCentral's that was not known before may have begun to deliver at any time.
    """
    if known is None:
        return None
    if known.has_other_secret(wanted.token):
        return Reason.REFUSED, known.refused_since or known.checked_at
    ours = (item for item in found if _calls_us(item, wanted))
    same = next((item for item in ours if item.id == known.subscription_id), None)
    if same is not None and not same.is_active:
        return Reason.SUSPENDED, known.checked_at
    if same is not None and _lives(same, now):
        return None
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


def _calls_us(item: Subscription, wanted: Wanted) -> bool:
    return item.is_webhook and (item.address or "").rstrip("/") == wanted.address


def _lives(item: Subscription, now: datetime) -> bool:
    return item.expiration_time is None or item.expiration_time > now


def _listens_to(item: Subscription, wanted: Wanted, own_extension_id: str | None) -> bool:
    refused = {refused.filter for refused in item.disabled_filters}
    return has_same_filters(wanted.filters, {*item.event_filters, *refused}, own_extension_id)


def renew_at(subscription: Subscription, now: datetime) -> datetime | None:
    """Return when half of what is left of its life is gone; None when it does not say when it ends.

    Where RingCentral refused some of the filters, sooner: somebody may grant them.
    """
    half_way = subscription.expiration_time and now + (subscription.expiration_time - now) / 2
    if not subscription.disabled_filters:
        return half_way
    return min(half_way or now + _ASK_REFUSED_AGAIN, now + _ASK_REFUSED_AGAIN)


def pause_after(failures: int, error: RingCentralError, now: datetime) -> float:
    """Return in how many seconds to try again after so many failures in a row, the last of which was `error`."""
    if isinstance(error, RateLimited):
        return max(_SHORTEST_CHECK_SECONDS, (error.retry_at - now).total_seconds())
    return _BACKOFF.pause(failures)


@dataclass(frozen=True, slots=True)
class _Kept:
    """What was done: the subscription that delivers now, whether it was made, and whether its life began anew."""

    subscription: Subscription
    is_new: bool = False
    is_renewed: bool = True


class SubscriptionKeeper(Worker):
    """The background work that keeps the subscription of one connection; one replica at a time does it."""

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
        self._sweep_after = timedelta(seconds=sweep_after_seconds)
        self._failures = 0
        self.refusal: RingCentralError | None = None
        """What the last step failed of."""
        self.is_well = False
        """Whether the last turn left a subscription that delivers."""

    async def step(self) -> float:
        """Look after the subscription; say in how many seconds to look again."""
        async with leased(self._database, self._clock, self._lease) as is_ours:
            if is_ours:
                return await self._take_turn()
        # By then whoever has it is through, or has crashed.
        return min(self._check_seconds, max(_SHORTEST_CHECK_SECONDS, self._lease.seconds))

    async def _take_turn(self) -> float:
        self.refusal, self.is_well = None, False
        try:
            subscription, due_at = await self._look_after()
        except RingCentralError as error:
            self.refusal = error
            return await self._failed(error)
        self._failures, self.is_well = 0, True
        await self._tell(describe_disabled(subscription))
        left = self._check_seconds if due_at is None else (due_at - self._clock.now()).total_seconds()
        return min(self._check_seconds, max(_SHORTEST_CHECK_SECONDS, left))

    async def _look_after(self) -> tuple[Subscription, datetime | None]:
        """Bring it about that one subscription delivers; return it with the time at which to renew it."""
        token = await self.client.fetch_token()
        asked_at = self._clock.now()
        found = await self.client.list_subscriptions()
        known = await self._load_known()
        useless = {known.subscription_id} if known and known.has_other_secret(self.wanted.token) else set()
        kept: _Kept | None = None
        while kept is None:
            now = self._clock.now()
            choice = choose(found, self.wanted, now, token.owner_id, useless)
            await self._note_deaf(known, found, now)
            kept = await self._carry_out(choice, known, now)
            if not isinstance(choice, Create):  # where nothing came of it, it has ended since it was listed
                found = tuple(item for item in found if item.id != choice.subscription.id)
        due_at = await self._save(kept, known, asked_at)
        for item in choice.dead if isinstance(choice, Create) else choice.surplus:
            await self.client.delete_subscription(item.id)
            log.info("deleted a surplus subscription", subscription_id=item.id, status=item.status)
        return kept.subscription, due_at

    async def _carry_out(
        self, choice: Keep | Update | Create, known: KnownSubscription | None, now: datetime
    ) -> _Kept | None:
        """Do what was chosen; None when the subscription is not there any more."""
        match choice:
            case Keep(subscription=kept) if not _is_due(kept, known, now):
                return _Kept(kept, is_renewed=False)
            case Keep(subscription=kept) if not kept.disabled_filters:
                renewed = await self.client.renew_subscription(kept.id)
            case Keep(subscription=kept) | Update(subscription=kept):
                renewed = await self.client.update_subscription(
                    kept.id, self.wanted.filters, self.wanted.expires_in_seconds
                )
            case Create(dead=dead):
                return _Kept(await self._created(dead), is_new=True)
        if renewed is None:
            return None
        log.info(
            "renewed the subscription", subscription_id=renewed.id, expires_at=str(renewed.expiration_time)
        )
        return _Kept(renewed)

    async def _load_known(self) -> KnownSubscription | None:
        """Return what was last written down of the subscription that this connection keeps."""
        column = subscriptions.c
        query = select(
            column.subscription_id, column.checked_at, column.expires_at, column.renew_at, column.token_digest,
            column.refused_since,
        ).where(column.account_id == self._holder, column.name == self._name).order_by(column.checked_at.desc())  # fmt: skip
        async with self._database.read() as db:
            row = (await db.execute(query.limit(1))).one_or_none()
        return None if row is None else KnownSubscription(**row._mapping)  # noqa: SLF001 - the documented way to keywords

    async def _note_deaf(
        self, known: KnownSubscription | None, found: Sequence[Subscription], now: datetime
    ) -> None:
        """Write down that the known subscription delivers no more, before anything is tried against it.

        One that RingCentral suspended had failed for a while before, although it was called active: only until the
        last call that an event told of is it certain that events came.
        """
        deaf = why_deaf(known, found, self.wanted, now)
        if deaf is None or known is None:
            return
        reason, since = deaf
        told = next((item.blacklisted_reason for item in found if item.id == known.subscription_id), None)
        async with self._database.write() as db:
            if reason is Reason.SUSPENDED:
                heard_at = await gaps.last_heard_at(db, await accounts.resolve(db, self._holder))
                since = min(since, heard_at or since)
            await gaps.note_gap(
                db, self._holder, reason, since, None, now, sweep_after=self._sweep_after, detail=told
            )
            mine = subscriptions.c.subscription_id == known.subscription_id
            await db.execute(
                update(subscriptions)
                .where(subscriptions.c.account_id == self._holder, mine)
                .values(status=_STATUSES[reason])
            )
        log.warning("no subscription delivers", why=reason.value, since=str(since), told=told)

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
        self, kept: _Kept, known: KnownSubscription | None, asked_at: datetime
    ) -> datetime | None:
        """Write down that this one delivers, as was asked for at `asked_at`; a gap that there was is over. Return when
        to renew it."""
        now, subscription = self._clock.now(), kept.subscription
        due_at = renew_at(subscription, now)
        if not kept.is_renewed and known is not None and known.subscription_id == subscription.id:
            due_at = known.renew_at if known.expires_at == subscription.expiration_time else due_at
        row: dict[str, Any] = {
            "account_id": self._holder,
            "subscription_id": subscription.id,
            "name": self._name,
            "address": self.wanted.address,
            "filters": list(subscription.event_filters),
            "disabled_filters": [_refused_json(item) for item in subscription.disabled_filters] or None,
            "status": subscription.status or "unknown",
            "expires_at": subscription.expiration_time,
            "renew_at": due_at,
            "checked_at": asked_at,
        }
        if kept.is_new:
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
        return due_at

    async def _failed(self, error: RingCentralError) -> float:
        self._failures += 1
        pause = pause_after(self._failures, error, self._clock.now())
        log_failure(log, "the subscription could not be looked after", error, seconds=pause)
        problem = {
            "code": code_of(error),
            "detail": advise(error.code, error.detail),
            "since": self._clock.now().isoformat(),
        }
        await self._tell(problem)
        return pause

    async def _tell(self, problem: dict[str, Any] | None) -> None:
        """Write down how it stands, for whoever watches."""
        async with self._database.write() as db:
            values = {"failures": self._failures, "state": {"problem": problem}}
            await db.execute(update(work).where(self._lease.held).values(values))


def kind_of(name: str) -> str:
    """Name the row of `work` of one connection's subscription."""
    return KIND if name == OWN else f"{KIND}:{name}"


def name_of(kind: str) -> str:
    """Name the connection of such a row."""
    return kind.partition(":")[2] or OWN


def _is_due(subscription: Subscription, known: KnownSubscription | None, now: datetime) -> bool:
    if known is not None and known.subscription_id == subscription.id and known.renew_at is not None:
        return known.renew_at <= now
    # Adopted: how long it was meant to live is not known, so renew it once and know.
    return subscription.expiration_time is not None


def _refused_json(refused: DisabledFilter) -> dict[str, Any]:
    return {"filter": refused.filter, "reason": refused.reason, "message": refused.message}


def describe_disabled(subscription: Subscription) -> dict[str, Any] | None:
    """Return {code, detail} when RingCentral has left filters out of a subscription."""
    if not subscription.disabled_filters:
        return None
    words = "; ".join(
        f"{item.filter}: {item.message or item.reason}" for item in subscription.disabled_filters
    )
    return {"code": "disabled-filters", "detail": f"RingCentral refuses some event filters: {words}"}
