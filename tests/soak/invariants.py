"""What must be true at the end of every run, whatever went wrong in it."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from app.calls.model import Stage
from app.db.tables import calls, notes, sweeps, timeline, webhook_endpoints, webhook_messages
from app.enrichment.gaps import NO_GAPS
from app.simulator.scripting.model import ScriptedCall
from app.simulator.scripting.timeline import CallSetup
from tests.soak.faults import Kind
from tests.soak.journal import Journal
from tests.soak.virtual_loop import EPOCH
from tests.truth.conformance import SLACK_SECONDS
from tests.truth.expected import NOT_CALLS, truths_of
from tests.truth.model import EVENTS, RECORDS, Truth
from tests.truth.witnesses import Played, cast

if TYPE_CHECKING:
    from tests.soak.world import World

Json = dict[str, Any]
_CLOSED = {Stage.FINAL.value, Stage.ABSENT.value}
_WINDOW = _PENALTY = 60.0
_MOST_SHOWN = 8
_SLACK_SECONDS = 5.0
"""The clocks of the replicas are wrong by up to two seconds, each in its direction."""

_LEARNT_SECONDS = 8.0
"""How long after a 429 a request may still arrive that was sent before anybody knew of it."""


class Requests(list[Json]):
    """Every request that the platform answered, in the place of its list of the latest ones."""

    def __init__(self, journal: Journal) -> None:
        super().__init__()
        self._journal = journal

    def append(self, one: Json) -> None:
        super().append(one)
        self._journal.note("request", one["method"], one["path"].rpartition("/")[2][:24], one["status"])


async def check(world: "World") -> list[str]:
    """Return what is not as it must be, one sentence each."""
    found: list[str] = []
    for about, problems in (
        ("calls", await _check_calls(world)),
        ("feed", await _check_feed(world)),
        ("webhooks", [*_check_webhooks(world), *world.subscribers.faults]),
        ("export", await _check_export(world)),
        ("notes", await _check_notes(world)),
        ("gaps", await _check_gaps(world)),
        ("rates", _check_rates(world)),
        ("answers", world.people.faults),
        ("errors", world.journal.errors),
    ):
        found += [f"{about}: {problem}" for problem in problems[:_MOST_SHOWN]]
        if len(problems) > _MOST_SHOWN:
            found.append(f"{about}: and {len(problems) - _MOST_SHOWN} more")
    return found


async def unsettled(world: "World") -> list[str]:
    """Return what the service still works on."""
    database = world.database()
    try:
        async with database.read() as db:
            rows = list(await db.execute(select(calls.c.call_id, calls.c.stage, calls.c.readiness)))
            open_gaps = list(await db.execute(select(sweeps.c.sweep_id).where(*_UNSWEPT)))
            unsent = list(await db.scalars(select(webhook_messages.c.seq).where(_ENABLED)))
    finally:
        await database.close()
    known = {row.call_id for row in rows}
    waiting = [row.call_id for row in rows if row.stage not in _CLOSED or _is_pending(row.readiness)]
    missing = len(_sessions(world)) - len(known)
    unswept = [row.sweep_id for row in open_gaps]
    return [*waiting, *unswept, *(["missing"] * max(0, missing)), *(f"message {seq}" for seq in unsent)]


_ENABLED = webhook_messages.c.endpoint_id.in_(
    select(webhook_endpoints.c.endpoint_id).where(webhook_endpoints.c.disabled_at.is_(None))
)
_UNSWEPT = (sweeps.c.reason.not_in(NO_GAPS), sweeps.c.done_at.is_(None))


def _is_pending(readiness: Mapping[str, Any]) -> bool:
    return any(part.get("state") == "pending" for part in readiness.values() if isinstance(part, dict))


def _sessions(world: "World") -> dict[str, ScriptedCall]:
    return {session.telephony_session_id: call for call in world.simulator.calls for session in call.sessions}


# Calls


async def _check_calls(world: "World") -> list[str]:
    """Every call is there exactly once, closed, and true."""
    database = world.database()
    try:
        async with database.read() as db:
            rows = list(await db.execute(select(calls.c.telephony_session_id, calls.c.stage)))
    finally:
        await database.close()
    sessions, counts = _sessions(world), Counter(row.telephony_session_id for row in rows)
    problems = [f"{name} is there {count} times" for name, count in counts.items() if count > 1]
    problems += [f"{name} was never called" for name in counts if name not in sessions]
    truths = _truths(world)
    for name, call in sessions.items():
        label = f"{call.script} {name}"
        if name not in counts:
            if call.script not in NOT_CALLS:
                problems.append(f"{label} is missing")
            continue
        shown = await world.people.get(f"/v1/calls/{name}")
        if shown is None:
            problems.append(f"{label} cannot be read")
        else:
            problems += [
                f"{label}: {problem}"
                for problem in _wrong(shown, call, truths.get(name), all_events=not _may_miss(world, call))
            ]
    return problems


def _may_miss(world: "World", call: ScriptedCall) -> bool:
    """Whether an event of the call may be lost, or was refused."""
    begin = (call.started_at - EPOCH).total_seconds() - 1.0
    end = (call.ended_at - EPOCH).total_seconds() + _PENALTY
    is_lossy = any(
        one.kind is Kind.DELIVERIES and one.at <= end and one.at + one.seconds >= begin
        for one in world.episodes
    )
    return is_lossy or any(begin <= one.end and one.begin <= end for one in world.poster.refusals)


def _wrong(shown: Json, call: ScriptedCall, truth: Truth | None, *, all_events: bool) -> Iterable[str]:
    if call.script in NOT_CALLS:
        if (shown["stage"], shown["absentReason"]) != ("absent", "test-call"):
            yield f"is {shown['stage']} {shown['absentReason']}, not absent"
        return
    if shown["stage"] != "final":
        yield f"is {shown['stage']} {shown['absentReason'] or ''}, not final"
        return
    pending = [name for name, part in shown["readiness"].items() if part["state"] == "pending"]
    if pending:
        yield f"waits for {pending}"
    name = shown["telephonySessionId"]
    records = {one.id for one in call.records if one.session.telephony_session_id == name}
    if {one["id"] for one in shown["records"]} != records:
        yield f"has records {[one['id'] for one in shown['records']]}, not {sorted(records)}"
    recordings = {one.id for one in call.recordings if one.telephony_session_id == name}
    ready = {one["id"] for one in shown["recordings"] if one["state"] == "ready"}
    if ready != recordings:
        yield f"has recordings {sorted(ready)}, not {sorted(recordings)}"
    if truth is not None:
        yield from _untrue(shown, truth, all_events=all_events)


def _untrue(shown: Json, truth: Truth, *, all_events: bool) -> Iterable[str]:
    said = {
        "direction": shown["direction"],
        "internal": shown["internal"],
        "external_number": shown["externalNumber"],
        "outcome": shown["outcome"],
        "queue_name": shown["queueName"],
        "agents": [agent["extensionId"] for agent in shown["agents"]],
    }
    right = {name: getattr(truth, name) for name in said}
    right["agents"] = [agent.extension_id for agent in truth.agents]
    if not all_events:
        # The order of agents is that of events; without some of them only who took part is certain.
        said["agents"], right["agents"] = sorted(said["agents"]), sorted(right["agents"])
    for name, value in said.items():
        # Events may have been lost, so only what records tell as well is certain.
        if value != right[name] and truth.is_told(name, RECORDS) and truth.is_told(name, EVENTS):
            yield f"{name} is {value}, not {right[name]}"
    for name, seconds, expected in (
        ("answered_at", _seconds(shown["answerTime"]), _seconds(truth.answered_at)),
        ("talk_seconds", shown["talkSeconds"], truth.talk_seconds),
        ("ring_seconds", shown["ringSeconds"], truth.ring_seconds),
    ):
        if truth.is_told(name, RECORDS) and truth.is_told(name, EVENTS) and not _is_near(seconds, expected):
            yield f"{name} is {seconds}, not {expected}"


def _seconds(moment: datetime | str | None) -> float | None:
    if isinstance(moment, str):
        moment = datetime.fromisoformat(moment)
    return None if moment is None else (moment - EPOCH).total_seconds()


def _is_near(seconds: float | None, expected: float | None) -> bool:
    """Whether both are the same, as far as records tell them, which count whole seconds."""
    if seconds is None or expected is None:
        return seconds is expected
    return abs(seconds - expected) <= SLACK_SECONDS


def _truths(world: "World") -> dict[str, Truth]:
    simulator = world.simulator
    found: dict[str, Truth] = {}
    for call in simulator.calls:
        if call.script in NOT_CALLS:
            continue
        number = int(call.id.removeprefix("sim-"))
        setup = CallSetup(simulator.company, call.started_at, call.speed, simulator.settings.seed, number)
        played = Played(call, cast(setup, world.options[call.id]), simulator.company)
        found |= {truth.telephony_session_id: truth for truth in truths_of(played)}
    return found


# The feed


async def _check_feed(world: "World") -> list[str]:
    """The follower has seen every change once, in order, and the versions of each call rise by one."""
    database = world.database()
    try:
        async with database.read() as db:
            query = select(timeline.c.account_id, timeline.c.seq, timeline.c.call_id, timeline.c.version)
            rows = list(await db.execute(query.order_by(timeline.c.account_id, timeline.c.seq)))
    finally:
        await database.close()
    seen = [(one["seq"], one["callId"], one["version"]) for one in world.people.changes]
    stored = [(row.seq, row.call_id, row.version) for row in rows]
    problems = []
    if seen != stored:
        extra, missed = Counter(seen) - Counter(stored), Counter(stored) - Counter(seen)
        problems.append(
            f"{len(seen)} changes were seen, {len(stored)} are stored; "
            f"missed {list(missed)[:3]}, too many {list(extra)[:3]}"
        )
    if [seq for seq, *_ in seen] != list(range(1, len(seen) + 1)):
        problems.append("the numbers of the changes have gaps")
    versions: dict[str, int] = defaultdict(int)
    for _, call_id, version in seen:
        if version not in (versions[call_id], versions[call_id] + 1):
            problems.append(f"{call_id} went from version {versions[call_id]} to {version}")
        versions[call_id] = version
    return problems + _check_stages(world)


def _check_stages(world: "World") -> list[str]:
    order = {
        name: place for place, name in enumerate(("live", "ended", "bootstrapped", "reconciled", "final"))
    }
    reached: dict[str, int] = {}
    problems = []
    for change in world.people.changes:
        stage = change["type"].removeprefix("call.")
        if stage not in order:
            continue
        before = reached.get(change["callId"], -1)
        is_revival = stage == "live" and before <= order["ended"]
        if order[stage] < before and not is_revival:
            problems.append(f"{change['callId']} went back to {stage}")
        reached[change["callId"]] = order[stage]
    return problems


# Webhooks and exports


def _check_webhooks(world: "World") -> list[str]:
    """Every change was confirmed by the receiver of each, first in the order of its call; the receiver of the
    latest has the last of each call, and the receiver of complete calls has one message for each.
    """
    history: dict[str, list[str]] = defaultdict(list)
    for change in world.people.changes:
        history[change["callId"]].append(change["cursor"])
    problems = []
    confirmed = _by_call(world.subscribers.kept("each"))
    for call_id in history.keys() | confirmed.keys():
        if confirmed[call_id] != history[call_id]:
            missed = [one for one in history[call_id] if one not in confirmed[call_id]]
            problems.append(f"{call_id}: each had {confirmed[call_id][:9]}, missed {missed[:5]}")
    latest = {
        message["data"]["change"]["callId"]: message["id"] for message in world.subscribers.kept("latest")
    }
    for call_id, cursors in history.items():
        if latest.get(call_id) != cursors[-1]:
            problems.append(f"{call_id}: latest had {latest.get(call_id)}, not {cursors[-1]}")
    final = {one["callId"] for one in world.people.changes if one["type"] == "call.final"}
    complete = _by_call(world.subscribers.kept("onceWhenComplete"))
    problems += [f"{one}: complete, never told" for one in final - complete.keys()]
    problems += [f"{one}: told as complete in {ids}" for one, ids in complete.items() if len(ids) > 1]
    return problems


def _by_call(messages: Iterable[Json]) -> dict[str, list[str]]:
    """Return the ids of messages by call, each once, in the order in which they were confirmed first."""
    found: dict[str, list[str]] = defaultdict(list)
    for message in messages:
        ids = found[message["data"]["change"]["callId"]]
        if message["id"] not in ids:
            ids.append(message["id"])
    return found


async def _check_export(world: "World") -> list[str]:
    """An export has every call as it is now."""
    exported = await world.people.export()
    database = world.database()
    try:
        async with database.read() as db:
            query = select(calls.c.call_id, calls.c.version)
            stored = {row.call_id: row.version for row in await db.execute(query)}
    finally:
        await database.close()
    shown = {call_id: call["version"] for call_id, call in exported.items()}
    return [
        f"{call_id}: version {stored.get(call_id)} is stored, {shown.get(call_id)} was exported"
        for call_id in sorted(stored.keys() | shown.keys())
        if stored.get(call_id) != shown.get(call_id)
    ]


# Notes


async def _check_notes(world: "World") -> list[str]:
    """Every accepted note belongs to exactly one call, the right one."""
    database = world.database()
    try:
        async with database.read() as db:
            rows = list(await db.execute(select(notes.c.note_id, notes.c.external_id, notes.c.parked)))
    finally:
        await database.close()
    stored = Counter(row.external_id for row in rows)
    problems = [f"{name} is there {count} times" for name, count in stored.items() if count > 1]
    problems += [f"{row.external_id} is still parked" for row in rows if row.parked]
    for note in world.people.notes:
        answer = await world.people.ask("GET", f"/v1/calls/{note.telephony_session_id}/notes")
        shown = json.loads(answer.body).get("data", []) if answer is not None else []
        if note.external_id not in {one["externalId"] for one in shown}:
            problems.append(f"{note.external_id}, accepted with {note.status}, is not at its call")
    if world.people.unwritten:
        problems.append(f"{world.people.unwritten} notes were never accepted")
    return problems


# Gaps


async def _check_gaps(world: "World") -> list[str]:
    """Every second in which a delivery was refused lies in a gap, and every gap was swept."""
    database = world.database()
    try:
        async with database.read() as db:
            rows = list(await db.execute(select(sweeps).where(sweeps.c.reason.not_in(NO_GAPS))))
    finally:
        await database.close()
    problems = [
        f"the gap from {_at(row.from_at)} to {_at(row.to_at)} ({row.reason}) was not swept"
        for row in rows
        if row.done_at is None
    ]
    slack = timedelta(seconds=_SLACK_SECONDS)
    for refusal in world.poster.refusals:
        moment = EPOCH + timedelta(seconds=refusal.begin)
        if not any(row.from_at - slack <= moment <= (row.to_at or moment) + slack for row in rows):
            problems.append(f"a delivery was refused at {refusal.begin:.1f} ({refusal.why}), in no gap")
    return problems


def _at(moment: datetime | None) -> str:
    return "now" if moment is None else f"{(moment - EPOCH).total_seconds():.0f}"


# Rate limits


def _check_rates(world: "World") -> list[str]:
    """No request goes beyond a limit of which the service knows, and none into a penalty."""
    problems = []
    silent_until: dict[tuple[str, str], tuple[float, float]] = {}
    for one in world.simulator.requests.latest:
        at = (datetime.fromisoformat(one["at"]) - EPOCH).total_seconds()
        key = (one["user"], one["group"])
        begin, end = silent_until.get(key, (0.0, 0.0))
        if begin + _LEARNT_SECONDS < at < end - _SLACK_SECONDS and not _is_excused(world, begin, at):
            problems.append(
                f"a request of group {one['group']} at {at:.1f}, in the penalty since {begin:.1f}"
            )
        if one["status"] != 429:
            continue
        is_foreign = any(moment <= at <= moment + _WINDOW + 2 * _PENALTY for moment in world.foreign_at)
        if one["user"] and not is_foreign and at >= end:
            problems.append(f"a request of group {one['group']} at {at:.1f} went beyond the limit")
        silent_until[key] = (at, at + _PENALTY)
    return problems


_EXCUSES = {
    Kind.CRASH,
    Kind.CRASH_ALL,
    Kind.RESTART,
    Kind.NETWORK,
    Kind.DATABASE_DOWN,
    Kind.DATABASE_ERRORS,
    Kind.SLOW_DISK,
}


def _is_excused(world: "World", begin: float, end: float) -> bool:
    """Whether the response with the 429 may have been lost: with its reader, on its way, or when stored."""
    return any(
        one.kind in _EXCUSES and one.at <= end and one.at + one.seconds >= begin - _PENALTY
        for one in world.episodes
    )
