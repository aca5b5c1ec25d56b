"""Subscriptions: their filters, lifetimes and delivery failures. No I/O, `now` is an argument."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal
from urllib.parse import parse_qs, urlsplit

from app.simulator.platform.errors import Refused
from app.simulator.platform.views import iso
from app.simulator.scripting.model import Json, PartyEvent

DEFAULT_LIFETIME_SECONDS = 604800
_SESSIONS = re.compile(r"^/restapi/v1\.0/account/([^/]+)(?:/extension/([^/]+))?/telephony/sessions$")
_PRESENCE = re.compile(r"^/restapi/v1\.0/account/([^/]+)/extension/([^/]+)/presence$")
_INSIGHTS = re.compile(r"^/ai/ringsense/v1/public/accounts/([^/]+)/domains/pbx/insights$")
_REMINDER = re.compile(r"^/restapi/v1\.0/subscription/~$")

FilterKind = Literal["sessions", "presence", "insights", "reminder"]


@dataclass(frozen=True, slots=True)
class EventFilter:
    """One valid filter with `~` expanded. `extension_id` None means all extensions of the account."""

    text: str
    kind: FilterKind
    account_id: str
    extension_id: str | None
    query: dict[str, list[str]] = field(default_factory=dict)

    @property
    def scope(self) -> str | None:
        """The scope that the application needs for this filter."""
        return {
            "sessions": "CallControl",
            "presence": "ReadPresence",
            "insights": "RingSense",
            "reminder": None,
        }[self.kind]

    def matches(self, event: PartyEvent) -> bool:
        """Whether the filter and its query match a party event."""
        if self.extension_id is not None and event.extension_id != self.extension_id:
            return False
        if self.kind == "presence":
            return event.extension_id is not None
        return self.kind == "sessions" and self._passes_query(event)

    def _passes_query(self, event: PartyEvent) -> bool:
        party = event.party
        if not _one_of(self.query.get("direction"), party["direction"]):
            return False
        if not _one_of(self.query.get("statusCode"), party["status"]["code"]):
            return False
        if "true" in self.query.get("missedCall", ()) and not party["missedCall"]:
            return False
        if "true" in self.query.get("withRecordings", ()) and "recordings" not in party:
            return False
        numbers = [number.lstrip("+ ") for number in self.query.get("phoneNumber", ())]
        sides = {str(party[side].get("phoneNumber", "")).lstrip("+") for side in ("from", "to")}
        return not numbers or any(number in sides for number in numbers)


def _one_of(allowed: Sequence[str] | None, given: str) -> bool:
    return not allowed or given in allowed


def read_filter(text: object, account_id: str, extension_id: str) -> EventFilter:
    """Validate one filter and expand `~`; raises Refused with SUB-508.

    The expanded text includes the query, as in RingCentral's responses.
    """
    if isinstance(text, str):
        parts = urlsplit(text)
        query = parse_qs(parts.query)
        for pattern, kind in _KINDS:
            found = pattern.match(parts.path)
            if found is not None:
                return _expand(parts.path, parts.query, query, kind, account_id, extension_id)
    raise Refused(400, "SUB-508", f"Event filters are not valid: [{text}]", parameter="eventFilters")


_KINDS: tuple[tuple[re.Pattern[str], FilterKind], ...] = (
    (_SESSIONS, "sessions"),
    (_PRESENCE, "presence"),
    (_INSIGHTS, "insights"),
    (_REMINDER, "reminder"),
)


def _expand(
    path: str,
    raw_query: str,
    query: dict[str, list[str]],
    kind: FilterKind,
    account_id: str,
    extension_id: str,
) -> EventFilter:
    # The platform's API has /account/ in its paths, that of the insights /accounts/.
    expanded = path.replace("/account/~", f"/account/{account_id}")
    expanded = expanded.replace("/accounts/~", f"/accounts/{account_id}")
    expanded = expanded.replace("/extension/~", f"/extension/{extension_id}")
    named = re.search(r"/extension/([^/]+)", expanded)
    return EventFilter(
        f"{expanded}?{raw_query}" if raw_query else expanded,
        kind,
        account_id,
        named.group(1) if named else None,
        query,
    )


def event_path(account_id: str, extension_id: str | None, family: str) -> str:
    """Return the path of an event: below the extension if the party has one, else below the account."""
    extension = f"/extension/{extension_id}" if extension_id is not None else ""
    return f"/restapi/v1.0/account/{account_id}{extension}/{family}"


@dataclass(frozen=True, slots=True)
class Reminder:
    """How long before the end reminders start, and how often they repeat, in real seconds."""

    threshold: float
    interval: float


def read_reminder(filters: Sequence[EventFilter], lifetime: float, speed: float) -> Reminder | None:
    """Read the reminder filter, if any; raises Refused with SUB-516."""
    for one in filters:
        if one.kind == "reminder":
            try:
                threshold = float(one.query["threshold"][0]) / speed
                interval = float(one.query["interval"][0]) / speed
            except (KeyError, ValueError):
                threshold, interval = lifetime, lifetime
            if threshold > lifetime / 2 or interval > threshold / 2 or interval <= 0:
                raise Refused(400, "SUB-516", "Reminder parameters are not valid", parameter="eventFilters")
            return Reminder(threshold, interval)
    return None


@dataclass(slots=True)
class Subscription:
    """One webhook subscription. Mutable. `listed` is False for one that no API request created."""

    id: str
    owner_id: str
    address: str
    token: str | None
    filters: list[EventFilter]
    disabled: list[Json]
    created_at: datetime
    expires_at: datetime
    status: str = "Active"
    blacklisted_at: datetime | None = None
    reason: str | None = None
    failing_since: datetime | None = None
    failures: int = 0
    reminder: Reminder | None = None
    listed: bool = True
    renewals: int = 0

    def is_expired(self, now: datetime) -> bool:
        return now >= self.expires_at

    def may_receive(self, now: datetime) -> bool:
        return self.status == "Active" and not self.is_expired(now)

    def succeeded(self) -> None:
        self.failing_since, self.failures = None, 0

    def failed(self, reason: str, now: datetime, patience_seconds: float, patience_failures: int) -> bool:
        """Count a failed delivery; returns True if this suspends the subscription."""
        self.failing_since = self.failing_since or now
        self.failures += 1
        failing_seconds = (now - self.failing_since).total_seconds()
        # Both limits must be exceeded: some failures in a short outage suspend nothing.
        if (
            self.status == "Active"
            and self.failures >= patience_failures
            and failing_seconds >= patience_seconds
        ):
            self.suspend(reason, now)
            return True
        return False

    def suspend(self, reason: str, now: datetime) -> None:
        self.status, self.blacklisted_at, self.reason = "Blacklisted", now, reason

    def recover(self) -> None:
        self.status, self.blacklisted_at, self.reason = "Active", None, None
        self.succeeded()

    def renew(self, lifetime: float, now: datetime) -> None:
        self.expires_at = now + timedelta(seconds=lifetime)
        self.renewals += 1

    def show(self, platform: str, now: datetime) -> Json:
        """Return the subscription as the API shows it, without the secret."""
        left = max(0, round((self.expires_at - now).total_seconds()) - 1)
        shown: Json = {
            "uri": f"{platform}/restapi/v1.0/subscription/{self.id}",
            "id": self.id,
            "creationTime": iso(self.created_at),
            "status": self.status,
            "eventFilters": [one.text for one in self.filters],
            "expirationTime": iso(self.expires_at),
            "expiresIn": left,
            "deliveryMode": {"transportType": "WebHook", "encryption": False, "address": self.address},
        }
        if self.disabled:
            shown["disabledFilters"] = self.disabled
        if self.blacklisted_at is not None:
            shown["blacklistedData"] = {"blacklistedAt": iso(self.blacklisted_at), "reason": self.reason}
        return shown


def count_statuses(subscriptions: Iterable[Subscription]) -> Json:
    return dict(Counter(one.status for one in subscriptions))


def lifetime_seconds(asked: object, speed: float, most: float) -> float:
    """Return a subscription's lifetime in real seconds.

    `asked` is the value that the client sent, in simulated seconds. It is capped at `most` and divided by
    `speed`.
    """
    if asked is None:
        return min(DEFAULT_LIFETIME_SECONDS, most) / speed
    # In Python a bool is an int.
    if isinstance(asked, bool) or not isinstance(asked, int | float) or asked <= 0:
        raise Refused(400, "CMN-101", "Parameter [expiresIn] value is invalid", parameter="expiresIn")
    return min(float(asked), most) / speed
