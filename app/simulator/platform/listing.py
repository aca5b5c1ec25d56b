"""Lists of records: filters, pages, bulk responses and the two kinds of sync. No I/O.

Query parameters are a list of pairs, because some of them can be repeated. Unknown ones are ignored, as by
RingCentral.
"""

import base64
import binascii
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, TypeVar
from urllib.parse import urlencode

from app.simulator.platform.errors import Refused, invalid
from app.simulator.platform.views import (
    DETAILED,
    SIMPLE,
    Links,
    Revision,
    current_revision,
    iso,
    show_logged,
    whole_second,
)
from app.simulator.quirks import PLAIN, Forms, Quirks, shown_ids, to_wire
from app.simulator.scripting.model import CallSummary, Json, Record

MAX_PER_PAGE = 1000
DEFAULT_PER_PAGE = 100
MAX_EXTRACT = 1000
T = TypeVar("T")
LastPage = Literal["first", "correct", "absent"]


class Query:
    """The query parameters of one request."""

    def __init__(self, pairs: Iterable[tuple[str, str]]) -> None:
        self.pairs = list(pairs)

    def one(self, name: str) -> str | None:
        return next((value for key, value in self.pairs if key == name), None)

    def all(self, name: str) -> list[str]:
        """Return all values; a comma-separated parameter has several."""
        return [part for key, value in self.pairs if key == name for part in value.split(",")]

    def view(self) -> str:
        view = self.one("view") or SIMPLE
        if view not in (SIMPLE, DETAILED):
            raise invalid("view")
        return view

    def flag(self, name: str) -> bool:
        return (self.one(name) or "").lower() == "true"

    def moment(self, name: str) -> datetime | None:
        given = self.one(name)
        if given is None:
            return None
        try:
            # An offset's plus sign that the client did not escape arrives as a space.
            moment = datetime.fromisoformat(given.replace(" ", "+"))
        except ValueError:
            raise invalid(name) from None
        # Bounds have the precision of seconds: a fraction is cut, not rounded.
        return whole_second(moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)

    def integer(self, name: str, default: int, *, most: int | None = None) -> int:
        """Read a number of at least 1; `most` limits it, and the text `max` stands for `most`."""
        given = self.one(name)
        if given is None:
            return default
        if given == "max" and most is not None:
            return most
        if not given.isdigit() or int(given) < 1:
            raise invalid(name)
        return int(given) if most is None else min(int(given), most)


@dataclass(frozen=True, slots=True)
class Page:
    """The requested part of a list."""

    number: int
    size: int

    @classmethod
    def read(cls, query: Query) -> "Page":
        return cls(query.integer("page", 1), query.integer("perPage", DEFAULT_PER_PAGE, most=MAX_PER_PAGE))


def paged(
    address: str,
    query: Query,
    page: Page,
    records: Sequence[T],
    show: Callable[[T], Json],
    last_page: LastPage,
) -> Json:
    """Return one page of `records` as a list response. `show` is called for the records of that page only."""
    begin = (page.number - 1) * page.size
    shown = [show(record) for record in records[begin : begin + page.size]]
    # Rounded up; an empty list has one page too.
    pages = max(1, -(-len(records) // page.size))

    def link(number: int) -> Json:
        kept = [(key, value) for key, value in query.pairs if key not in ("page", "perPage", "view")]
        effective = [("view", query.view()), *kept, ("page", str(number)), ("perPage", str(page.size))]
        return {"uri": f"{address}?{urlencode(effective)}"}

    navigation: Json = {"firstPage": link(1)}
    if page.number < pages:
        navigation["nextPage"] = link(page.number + 1)
    if 1 < page.number <= pages:
        navigation["previousPage"] = link(page.number - 1)
    if last_page != "absent":
        navigation["lastPage"] = link(1 if last_page == "first" else pages)
    paging: Json = {"page": page.number, "perPage": page.size}
    if shown:
        paging |= {"pageStart": begin, "pageEnd": begin + len(shown) - 1}
    return {
        "uri": link(page.number)["uri"],
        "records": shown,
        "paging": paging,
        "navigation": navigation,
    }


def newest_first(records: Iterable[Record]) -> list[Record]:
    return sorted(records, key=lambda record: (record.started_at, record.id), reverse=True)


def matches_summary(summary: CallSummary, query: Query) -> bool:
    """Apply the filters that Active Calls and the call log share. All calls are voice calls."""
    directions, kinds = query.all("direction"), query.all("type")
    if directions and summary.direction not in directions:
        return False
    return not kinds or "Voice" in kinds


# The call log's own filters


@dataclass(frozen=True, slots=True)
class LogRules:
    """How the platform handles the filters that differ between releases."""

    session_id_excludes: tuple[str, ...]
    session_id_within_window: bool
    telephony_session_id_filter: bool
    quirks: Quirks = PLAIN


@dataclass(frozen=True, slots=True)
class LogQuery:
    """A valid call-log list request. The window applies to `startTime`, both ends inclusive."""

    begin: datetime | None
    end: datetime | None
    concerns: Callable[[Record], bool]
    """Whether the record belongs to the requested session."""
    accepts: Callable[[Record, Revision], bool]
    """Whether the current content of the record passes the other filters."""


def read_log_query(query: Query, now: datetime, rules: LogRules, *, company_level: bool) -> LogQuery:
    """Validate the parameters of a call-log list; raises Refused, for example with CLG-110 or CMN-101."""
    session_id = query.one("sessionId")
    if session_id is not None:
        _check_session_id(session_id, query, rules)
    if query.one("extensionNumber") is not None and query.one("phoneNumber") is not None:
        message = "Parameter [extensionNumber] is not allowed together with parameter [phoneNumber]"
        raise Refused(400, "CLG-110", message, parameter="phoneNumber")
    end = query.moment("dateTo")
    # The default window does not scale with speed.
    begin = query.moment("dateFrom") or (end or now) - timedelta(hours=24)
    if session_id is not None and not rules.session_id_within_window:
        begin, end = datetime.min.replace(tzinfo=UTC), None
    telephony = query.one("telephonySessionId") if rules.telephony_session_id_filter else None
    tests = _log_tests(query, company_level=company_level)

    def concerns(record: Record) -> bool:
        ids = shown_ids(record, rules.quirks)
        return session_id in (None, ids.session_id) and telephony in (None, ids.telephony_session_id)

    def accepts(record: Record, revision: Revision) -> bool:
        return matches_summary(revision.stage.summary, query) and all(
            test(record, revision) for test in tests
        )

    return LogQuery(begin, end, concerns, accepts)


def _check_session_id(session_id: str, query: Query, rules: LogRules) -> None:
    if not (session_id.isascii() and session_id.isdigit()):
        raise invalid("sessionId")
    for name, _ in query.pairs:
        if name in rules.session_id_excludes:
            message = f"Parameter [sessionId] is not allowed together with parameter [{name}]"
            raise Refused(400, "CLG-110", message, parameter=name)


_Test = Callable[[Record, Revision], bool]


def _log_tests(query: Query, *, company_level: bool) -> list[_Test]:
    tests: list[_Test] = []
    phone, extension = query.one("phoneNumber"), query.one("extensionNumber")
    if phone is not None:
        tests.append(lambda _, revision: _digits(phone) in _numbers(revision.stage.summary, "phoneNumber"))
    if extension is not None:
        tests.append(lambda _, revision: extension in _numbers(revision.stage.summary, "extensionNumber"))
    kind = query.one("recordingType")
    if kind is not None or query.flag("withRecording"):
        tests.append(lambda record, revision: _is_recorded(record, revision, kind))
    transports = query.all("transport")
    if transports and not company_level:
        tests.append(lambda _, revision: revision.stage.legs[0].transport in transports)
    return tests


def _digits(number: str) -> str:
    return "".join(char for char in number if char.isdigit())


def _numbers(summary: CallSummary, key: str) -> set[str]:
    found = (str(side.get(key, "")) for side in (summary.sender, summary.receiver))
    return {_digits(number) for number in found if number}


def _is_recorded(record: Record, revision: Revision, kind: str | None) -> bool:
    kept = record.recordings.kept if revision.with_recording else ()
    return any(kind in (None, "All", recording.kind) for recording in kept)


# Bulk


def multipart(parts: Sequence[tuple[str, int, Json]], boundary: str) -> bytes:
    """Return a 207 body of (href, status, body) parts.

    The first part lists the statuses; then follows one part per id in the order of the request. Line endings
    are mixed, as observed in responses of the platform.
    """
    listed = {
        "response": [
            {"href": href, "status": status, "responseDescription": _REASONS.get(status, "Error")}
            for href, status, _ in parts
        ]
    }
    bodies = [listed, *(body for _, _, body in parts)]
    out: list[bytes] = []
    for place, body in enumerate(bodies):
        ending = "\r\n" if place % 2 == 0 else "\n"
        text = to_wire(body)
        head = f"--{boundary}{ending}Content-Type: application/json{ending}{ending}"
        out.append(head.encode() + text + ending.encode())
    return b"".join(out) + f"--{boundary}--\r\n\n".encode()


_REASONS = {200: "OK", 403: "Forbidden", 404: "Not Found"}


def multi_status(parts: Sequence[tuple[str, int, Json]]) -> list[Json]:
    """Return the JSON form of a bulk response, from parts of (resource id, status, body)."""
    return [{"resourceId": name, "status": status, "body": body} for name, status, body in parts]


# Sync


@dataclass(frozen=True, slots=True)
class SyncToken:
    """The content of a sync token, which is opaque to clients."""

    kind: str
    level: str
    view: str
    status_group: str
    seen_until: datetime

    def write(self) -> str:
        fields = [self.kind, self.level, self.view, self.status_group, self.seen_until.isoformat()]
        return base64.urlsafe_b64encode(json.dumps(fields).encode()).decode().rstrip("=")

    @classmethod
    def read(cls, text: str, kind: str, level: str) -> "SyncToken":
        """Decode a token of this kind and level; raises Refused with CLG-104."""
        try:
            fields = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
            written_kind, written_level, view, status_group, seen_until = map(str, fields)
            token = cls(written_kind, written_level, view, status_group, datetime.fromisoformat(seen_until))
        except (ValueError, TypeError, LookupError, binascii.Error):
            raise _bad_token("Sync token is invalid") from None
        if (token.kind, token.level) != (kind, level):
            raise _bad_token("Sync token belongs to another resource")
        return token


def _bad_token(message: str) -> Refused:
    return Refused(400, "CLG-104", message, parameter="syncToken")


@dataclass(frozen=True, slots=True)
class SyncSource:
    """The records that a sync reads, and how it shows them."""

    address: str
    level: str
    records: Sequence[Record]
    revisions_of: Callable[[Record], Sequence[Revision]]
    links: Links
    company_level: bool
    forms: Forms

    def show(self, record: Record, revision: Revision, view: str) -> Json:
        shown = show_logged(record, revision, self.links, view, company_level=self.company_level)
        return self.forms.record(shown, record)

    def current(self, now: datetime) -> list[tuple[Record, Revision]]:
        """Pair each record that the log contains with its current revision."""
        pairs = ((record, current_revision(self.revisions_of(record), now)) for record in self.records)
        return [(record, revision) for record, revision in pairs if revision is not None]


def sync(source: SyncSource, query: Query, now: datetime, limit: int) -> Json:
    """Answer `call-log-sync`: FSync returns the latest records, ISync those changed since the token."""
    if query.one("syncType") == "ISync":
        token = SyncToken.read(query.one("syncToken") or "", "sync", source.level)
        view, group, kind = token.view, token.status_group, "ISync"
        chosen = [pair for pair in source.current(now) if _changed(pair[0], token.seen_until, now, source)]
        chosen = [pair for pair in chosen if _in_group(pair[1], group)]
        # Refused instead of cut: a shorter list would lose changes that the next token skips.
        if len(chosen) > limit:
            raise _bad_token(f"Sync token is invalid: more than the maximum number of sync records ({limit})")
    else:
        view, group, kind = query.view(), query.one("statusGroup") or "All", "FSync"
        count = query.integer("recordCount", limit)
        if query.one("recordCount") is None or count > limit:
            raise invalid("recordCount")
        begin = query.moment("dateFrom") or datetime.min.replace(tzinfo=UTC)
        chosen = [pair for pair in source.current(now) if pair[0].started_at >= begin]
        chosen = [pair for pair in chosen if _in_group(pair[1], group)]
        chosen = sorted(chosen, key=lambda pair: pair[0].started_at)[-count:]
    chosen.sort(key=lambda pair: (pair[0].started_at, pair[0].id), reverse=True)
    token = SyncToken("sync", source.level, view, group, now)
    return {
        "uri": source.address,
        "records": [source.show(record, revision, view) for record, revision in chosen],
        "syncInfo": {"syncType": kind, "syncToken": token.write(), "syncTime": iso(now)},
    }


def _changed(record: Record, since: datetime, now: datetime, source: SyncSource) -> bool:
    return any(since < revision.at <= now for revision in source.revisions_of(record))


def _in_group(revision: Revision, group: str) -> bool:
    return group != "Missed" or revision.stage.summary.result in ("Missed", "Voicemail", "Abandoned")


def extract_sync(source: SyncSource, query: Query, now: datetime, hour_ago: datetime) -> Json:
    """Answer `call-log-extract-sync`: records in order of their last modification, in pages by ISync."""
    if query.one("syncType") == "ISync":
        token = SyncToken.read(query.one("syncToken") or "", "extract", source.level)
        view, since, count, kind = token.view, token.seen_until, 250, "ISync"
    else:
        view, kind = query.view(), "FSync"
        # One microsecond earlier, since `since` is exclusive and `dateFrom` inclusive.
        since = (query.moment("dateFrom") or hour_ago) - timedelta(microseconds=1)
        count = query.integer("recordCount", 250, most=MAX_EXTRACT)
    pending = [pair for pair in source.current(now) if pair[1].at > since]
    pending.sort(key=lambda pair: (pair[1].at, pair[0].id))
    chosen = pending[:count]
    # The next page starts after `seen_until`, so a page must contain all records of its last timestamp.
    while len(chosen) < len(pending) and pending[len(chosen)][1].at == chosen[-1][1].at:
        chosen.append(pending[len(chosen)])
    seen_until = chosen[-1][1].at if chosen else since
    return {
        "uri": source.address,
        "records": [source.show(record, revision, view) for record, revision in chosen],
        "syncInfo": {
            "syncType": kind,
            "syncToken": SyncToken("extract", source.level, view, "All", seen_until).write(),
            "syncTime": iso(now),
            "newerRecordsExist": len(chosen) < len(pending),
        },
    }
