"""A call of every script, from its first event to `final`: over real HTTP, on both databases, at both levels.

What is expected stands in the tables below, written down from RingCentral's guides and the scripts' own
sentences; only ids are the simulator's.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from app.simulator import Faults, SimulatorSettings
from app.simulator.scripting.casting import CallOptions
from app.simulator.scripting.catalogue import SCRIPTS
from app.simulator.scripting.company import Company
from app.simulator.scripting.model import ScriptedCall
from app.simulator.scripting.timeline import CallSetup
from tests.e2e.world import LIMIT_SECONDS, Json, World, world
from tests.truth.builders import Truths
from tests.truth.expected import truths_of
from tests.truth.model import EVENTS, RECORDS, Truth
from tests.truth.witnesses import Played, cast

ANA, BEN, SALES, MENU = "711000101", "711000102", "711000900", "711000800"

SEED = 11

Row = tuple[str, str, int]
"""A record: whose it is, its result, how many legs it has."""


@dataclass(frozen=True, slots=True)
class Story:
    """What one session of a script has become.

    `primary`: the extensions whose record may stand for the call.
    """

    outcome: str
    directions: str
    records: tuple[Row, ...]
    primary: str
    recordings: int = 0
    links: str | None = None


def inbound(*, recordings: int = 1, links: str | None = None) -> Story:
    """Ana took a call from outside."""
    return Story("answered", "Inbound", ((ANA, "Accepted", 2),), ANA, recordings, links)


def outbound(whose: str = ANA, *, recordings: int = 0, links: str | None = None) -> Story:
    """Somebody of the company called and was answered."""
    return Story("answered", "Outbound", ((whose, "Call connected", 1),), whose, recordings, links)


def both_sides(*, links: str | None = None) -> Story:
    """Ana called Ben: a record of each, and neither is better than the other."""
    rows = ((ANA, "Call connected", 1), (BEN, "Accepted", 1))
    return Story("answered", "Inbound Outbound", rows, f"{ANA} {BEN}", 0, links)


def missed_with_attempt(result: str) -> Story:
    """Nobody took a call from outside, and the platform tried another telephone in vain."""
    rows = sorted(((ANA, "Missed", 1), (ANA, result, 1)))
    return Story("missed", "Inbound", tuple(rows), ANA)


def answered_with_second(result: str) -> Story:
    """Ana took a call from outside, and a second record tells of another telephone."""
    return Story("answered", "Inbound", ((ANA, "Accepted", 2), (ANA, result, 1)), ANA, 1)


TWO_TALKS = ((ANA, "Accepted", 2), (BEN, "Accepted", 2))
STORIES: Mapping[str, Sequence[Story]] = {
    "inbound_direct": [inbound()],
    "inbound_recorded_with_hold": [inbound()],
    "inbound_missed": [Story("missed", "Inbound", ((ANA, "Missed", 1),), ANA)],
    "ivr_then_agent": [inbound()],
    "outbound_answered": [outbound(recordings=1)],
    "outbound_busy": [Story("busy", "Outbound", ((ANA, "Busy", 1),), ANA)],
    "outbound_no_answer": [Story("noAnswer", "Outbound", ((ANA, "No Answer", 1),), ANA)],
    "internal": [both_sides()],
    "queue_answered": [Story("answered", "Inbound", ((ANA, "Accepted", 2), (BEN, "Missed", 1)), ANA, 1)],
    "queue_abandoned": [
        Story(
            "abandoned", "Inbound", ((ANA, "Missed", 1), (BEN, "Missed", 1), (SALES, "Abandoned", 1)), SALES
        )
    ],
    "blind_transfer": [Story("answered", "Inbound", TWO_TALKS, f"{ANA} {BEN}", 2)],
    "warm_transfer": [inbound(links="attendedTransfer"), both_sides(links="attendedTransfer")],
    "park_and_pickup": [Story("answered", "Inbound", TWO_TALKS, ANA, 2)],
    "park_revived": [Story("answered", "Inbound", TWO_TALKS, ANA, 2)],
    "voicemail": [Story("voicemail", "Inbound", ((ANA, "Voicemail", 2),), ANA)],
    "conference": [outbound(links="conference"), outbound(links="conference")],
    "ringout": [outbound(links="ringOut"), outbound(links="ringOut", recordings=1)],
    "own_number": [
        Story(
            "voicemail", "Inbound Outbound", ((ANA, "Accepted", 1), (ANA, "Call connected", 1)), ANA
        )  # nobody answers a call to oneself
    ],
    "short_call": [inbound(recordings=0)],
    "first_seen_disconnected": [inbound()],
    "events_lost": [inbound()],
    "picked_up_elsewhere": [inbound(links="pickup"), outbound(BEN, links="pickup")],
    "supervised": [inbound(links="supervising"), outbound(BEN, links="supervising")],
    "short_call_untold": [inbound(recordings=0)],
    "recorded_on_demand": [outbound(recordings=1)],
    "recorded_twice": [inbound(recordings=2)],
    "transferred_soon": [Story("answered", "Inbound", TWO_TALKS, f"{ANA} {BEN}", 1)],
    "find_me_missed": [missed_with_attempt("Stopped")],
    "find_me_busy": [missed_with_attempt("Busy")],
    "find_me_answered": [answered_with_second("Call connected")],
    "follow_me": [answered_with_second("Call connected")],
    "sip_forwarding": [missed_with_attempt("Unknown")],
    "transferred_outside": [answered_with_second("Call connected")],
    "transfer_to_voicemail": [
        Story("answered", "Inbound", ((ANA, "Accepted", 2), (BEN, "Voicemail", 2)), ANA, 1)
    ],
    "consultation": [inbound(links="attendedTransfer"), both_sides(links="attendedTransfer")],
    "park_location": [
        Story("answered", "Inbound", tuple(sorted((*TWO_TALKS, (ANA, "Call connected", 1)))), ANA, 2)
    ],
    "ringout_one_session": [Story("answered", "Outbound", ((ANA, "Call connected", 2),), ANA, 1)],
    "ringout_one_session_unanswered": [Story("noAnswer", "Outbound", ((ANA, "No Answer", 2),), ANA)],
    "menu_never_answered": [inbound()],
    "menu_abandoned": [Story("abandoned", "Inbound", ((MENU, "Abandoned", 1),), MENU)],
    "simultaneous_ring": [
        Story("answered", "Inbound", ((ANA, "Accepted", 2), (BEN, "Answered Elsewhere", 1)), ANA, 1)
    ],
    "pick_up": [Story("answered", "Inbound", ((ANA, "Answered Elsewhere", 1), (BEN, "Accepted", 2)), BEN, 1)],
    "queue_voicemail": [
        Story(
            "voicemail", "Inbound", ((ANA, "Missed", 1), (BEN, "Missed", 1), (SALES, "Voicemail", 2)), SALES
        )
    ],
    "call_back": [
        Story("abandoned", "Inbound", ((SALES, "Callback requested", 1),), SALES),
        outbound(recordings=1),
    ],
    "internal_missed": [
        Story("noAnswer", "Outbound", ((ANA, "No Answer", 1), (BEN, "Missed", 1)), f"{ANA} {BEN}")
    ],
    "internal_voicemail": [
        Story("voicemail", "Outbound", ((ANA, "Call connected", 1), (BEN, "Voicemail", 1)), f"{ANA} {BEN}")
    ],
    "internal_transferred_outside": [
        Story(
            "answered",
            "Outbound",
            ((ANA, "Call connected", 1), (BEN, "Accepted", 1), (BEN, "Call connected", 1)),
            f"{ANA} {BEN}",
        )
    ],
    "own_main_number": [both_sides()],
    "same_number_inbound": [inbound()],
    "blocked": [Story("blocked", "Outbound", ((ANA, "International Disabled", 1),), ANA)],
    "anonymous_caller": [inbound()],
}
"""All scripts that leave a record; `test_call` leaves none."""


ON_DEMAND = {"recorded_on_demand", "recorded_twice"}
"""Scripts in which somebody starts the recording; all others are recorded of themselves."""


ONLY_IN_DIRECTORY: Mapping[str, Iterable[str]] = {"call_back": ["queue_name"]}
"""What only the directory knows: where no telephone of a queue rings, nothing else names the queue."""


class PlayedCompany:
    """A company that plays scripts, each once, and the service that hears of it."""

    def __init__(self, world: World, wishes: CallOptions, scripts: Iterable[str]) -> None:
        self.world = world
        self.calls: Mapping[str, ScriptedCall] = {
            script: world.simulator.start_call(script, wishes, delay_seconds=float(place))
            for place, script in enumerate(scripts)
        }

    def sessions(self, script: str) -> list[str]:
        return [one.telephony_session_id for one in self.calls[script].sessions]

    async def settled(self, names: Sequence[str]) -> dict[str, Json]:
        """Return these calls once all of them are final or absent, or as they are when time is up.

        A final call whose recording an event announces only now waits for that once more.
        """
        latest, waiting = time.monotonic() + LIMIT_SECONDS, list(names)
        while waiting and time.monotonic() < latest:
            shown = await self.shown(waiting)
            waiting = [name for name in waiting if not is_settled(shown[name])]
            await asyncio.sleep(1.0 if waiting else 0.0)
        return await self.shown(names)

    async def shown(self, names: Iterable[str]) -> dict[str, Json]:
        answers = {name: await self.world.reader.get(f"/v1/calls/{name}") for name in names}
        return {name: one.json() for name, one in answers.items()}

    async def legs(self, name: str) -> list[Json]:
        legs: list[Json] = (await self.world.get(f"/v1/calls/{name}/legs"))["data"]
        return legs


def is_settled(call: Json) -> bool:
    states = {part["state"] for part in call.get("readiness", {}).values()}
    return call.get("stage") == "absent" or (call.get("stage") == "final" and "pending" not in states)


@asynccontextmanager
async def played(
    database_url: str,
    folder: Path,
    *,
    extract_sync: bool,
    user: str = "",
    wishes: CallOptions,
    scripts: Iterable[str] = SCRIPTS,
) -> AsyncIterator[PlayedCompany]:
    """Run both; `user` is what the simulator appends to its JWT for a user with fewer rights."""
    settings = SimulatorSettings(speed=20.0, seed=SEED)
    variables = {"AFTERCALL_INSIGHTS": "off", "RC_JWT": f"{settings.jwt}{user}"}
    faults = Faults(extract_sync=extract_sync)
    async with world(database_url, folder, settings, faults, variables=variables) as here:
        yield PlayedCompany(here, wishes, scripts)


def told(call: Json, script: ScriptedCall) -> Story | str:
    """What the service says of a call, in the words of the tables; of a call that is not final, its stage."""
    if call.get("stage") != "final":
        return f"stage {call.get('stage')}"
    owners = {record.id: record.extension_id for record in script.records}
    rows = [(owners[one["id"]], one["result"], one["legCount"]) for one in call["records"]]
    (primary,) = [owners[one["id"]] for one in call["records"] if one["primary"]]
    (link,) = {one["kind"] for one in call["related"]} or {None}
    ready = [one["id"] for one in call["recordings"] if one["state"] == "ready"]
    return Story(call["outcome"], call["direction"], tuple(sorted(rows)), primary, len(ready), link)


def untrue(call: Json, truth: Truth, untold: Iterable[str] = ()) -> Json:
    """Return what the service says of a call that is not true, by field: what it says and what is right.

    Left out is what neither events nor records can tell, and the fields in `untold`.
    """
    said = {
        "direction": call["direction"],
        "internal": call["internal"],
        "external_number": call["externalNumber"],
        "outcome": call["outcome"],
        "queue_name": call["queueName"],
        "agents": [agent["extensionId"] for agent in call["agents"]],
    }
    right = {name: getattr(truth, name) for name in said}
    right["agents"] = [agent.extension_id for agent in truth.agents]
    return {
        name: (said[name], right[name])
        for name in said
        if said[name] != right[name]
        and (truth.is_told(name, EVENTS) or truth.is_told(name, RECORDS))
        and name not in untold
    }


def truths(script: ScriptedCall, company: Company, wishes: CallOptions) -> Truths:
    """Return what is true of each session of a call that the simulator plays."""
    number = int(script.id.removeprefix("sim-"))
    setup = CallSetup(company, script.started_at, script.speed, SEED, number)
    return truths_of(Played(script, cast(setup, wishes), company))


def fits(said: Story | str, expected: Story) -> bool:
    """Whether it is the same; where two records are equally good, either may stand for the call."""
    return (
        isinstance(said, Story)
        and said.primary in expected.primary.split()
        and said.directions in expected.directions.split()
        and (said.outcome, said.records, said.recordings, said.links)
        == (expected.outcome, expected.records, expected.recordings, expected.links)
    )


def recordings_of(script: ScriptedCall, session: str) -> set[str]:
    return {one.id for one in script.recordings if one.telephony_session_id == session}


def test_every_script_has_its_story() -> None:
    assert {*STORIES, "test_call"} == set(SCRIPTS)


@pytest.mark.parametrize("extract_sync", [True, False], ids=["with-extract-sync", "without-extract-sync"])
async def test_a_call_of_every_script_ends_final_as_it_was(
    database_url: str, tmp_path: Path, extract_sync: bool
) -> None:
    wishes = CallOptions(
        talk_seconds=90, ring_seconds=3, hold_seconds=6, agent="101", colleague="102", recorded=True
    )
    async with played(database_url, tmp_path, extract_sync=extract_sync, wishes=wishes) as company:
        names = [name for script in company.calls for name in company.sessions(script)]
        calls = await company.settled(names)
        differences = {}
        for script, stories in STORIES.items():
            for name, expected in zip(company.sessions(script), stories, strict=True):
                said = told(calls[name], company.calls[script])
                if not fits(said, expected):
                    differences[script, name] = (said, expected)
        assert differences == {}
        simulated = company.world.simulator.company
        wrong = {
            (script, truth.telephony_session_id): untrue(
                calls[truth.telephony_session_id], truth, ONLY_IN_DIRECTORY.get(script, ())
            )
            for script in STORIES
            for truth in truths(company.calls[script], simulated, wishes)
        }
        assert {key: fields for key, fields in wrong.items() if fields} == {}
        (nobody,) = company.sessions("test_call")
        assert (calls[nobody]["stage"], calls[nobody]["absentReason"]) == ("absent", "test-call")
        for script in STORIES:
            for name in company.sessions(script):
                call, legs = calls[name], await company.legs(name)
                assert sum(leg["master"] for leg in legs) == len(call["records"]), script
                heard = {one["id"] for one in call["recordings"] if one["state"] == "ready"}
                assert heard == recordings_of(company.calls[script], name), script
                kind = "OnDemand" if script in ON_DEMAND else "Automatic"
                assert {one["type"] for one in call["recordings"] if one["id"] in heard} <= {kind}, script
                others = {one["telephonySessionId"] for one in call["related"]}
                # Two calls that nothing links are two conversations.
                linked = company.sessions(script) if STORIES[script][0].links else []
                assert others == {other for other in linked if other != name}, script
        for script in ("short_call", "short_call_untold"):
            assert calls[company.sessions(script)[0]]["readiness"]["recording"]["state"] == "none", script
        assert company.world.simulator.statistics()["refused429"] == 0


async def test_a_voicemail_is_shown_with_its_transcript(sqlite_url: str, tmp_path: Path) -> None:
    scripts, wishes = ("voicemail", "inbound_missed"), CallOptions(talk_seconds=60, agent="101")
    async with played(sqlite_url, tmp_path, extract_sync=True, wishes=wishes, scripts=scripts) as company:
        (left, missed) = (company.sessions(script)[0] for script in scripts)
        calls = await company.settled([left, missed])
        (record,) = company.calls["voicemail"].records
        shown = calls[left]["voicemail"]
        assert calls[left]["stage"] == "final"
        assert (shown["id"], shown["extensionId"]) == (record.message_id, ANA)
        assert (shown["state"], shown["transcriptStatus"]) == ("ready", "Completed")
        assert str(record.message_id) in shown["transcript"]
        answer = await company.world.reader.get(shown["contentUrl"], headers={"Range": "bytes=0-9"})
        assert (answer.status_code, len(answer.content)) == (206, 10)
        assert (calls[missed]["voicemail"], calls[missed]["readiness"]["voicemail"]["state"]) == (
            None,
            "none",
        )


HANDED_ON = ("blind_transfer", "warm_transfer", "park_and_pickup", "park_revived", "picked_up_elsewhere")


async def test_recordings_of_calls_handed_on_too_soon_are_none_and_nobody_waits_for_them(
    sqlite_url: str, tmp_path: Path
) -> None:
    wishes = CallOptions(talk_seconds=20, ring_seconds=2, hold_seconds=4, recorded=True)
    async with played(sqlite_url, tmp_path, extract_sync=True, wishes=wishes, scripts=HANDED_ON) as company:
        calls = await company.settled([company.sessions(script)[0] for script in HANDED_ON])
        for call in calls.values():
            assert (call["stage"], call["readiness"]["recording"]["state"]) == ("final", "none"), call
            assert call["recordings"], "events told of them"
            assert {one["state"] for one in call["recordings"]} == {"none"}
        looked = [one for one in company.world.simulator.requests if "/recording/" in one["path"]]
        assert looked == [], "the records said that there is nothing to look for"


OF_BEN_ALONE: Mapping[str, Sequence[Row]] = {
    "inbound_direct": [(BEN, "Accepted", 2)],
    "inbound_recorded_with_hold": [(BEN, "Accepted", 2)],
    "inbound_missed": [(BEN, "Missed", 1)],
    "ivr_then_agent": [(BEN, "Accepted", 2)],
    "outbound_answered": [(BEN, "Call connected", 1)],
    "outbound_busy": [(BEN, "Busy", 1)],
    "outbound_no_answer": [(BEN, "No Answer", 1)],
    "internal": [(BEN, "Call connected", 1)],
    "queue_answered": [(BEN, "Accepted", 2)],
    "queue_abandoned": [(BEN, "Missed", 1)],
    "blind_transfer": [(BEN, "Accepted", 2)],
    "warm_transfer": [(BEN, "Accepted", 2)],
    "park_and_pickup": [(BEN, "Accepted", 2)],
    "park_revived": [(BEN, "Accepted", 2)],
    "voicemail": [(BEN, "Voicemail", 2)],
    "conference": [(BEN, "Call connected", 1)],
    "ringout": [(BEN, "Call connected", 1)],
    "own_number": [(BEN, "Accepted", 1), (BEN, "Call connected", 1)],
    "short_call": [(BEN, "Accepted", 2)],
    "first_seen_disconnected": [(BEN, "Accepted", 2)],
    "events_lost": [(BEN, "Accepted", 2)],
    "picked_up_elsewhere": [(BEN, "Accepted", 2)],
    "supervised": [(BEN, "Accepted", 2)],
    "short_call_untold": [(BEN, "Accepted", 2)],
    "recorded_on_demand": [(BEN, "Call connected", 1)],
    "recorded_twice": [(BEN, "Accepted", 2)],
    "transferred_soon": [(BEN, "Accepted", 2)],
    "find_me_missed": [(BEN, "Missed", 1), (BEN, "Stopped", 1)],
    "find_me_busy": [(BEN, "Busy", 1), (BEN, "Missed", 1)],
    "find_me_answered": [(BEN, "Accepted", 2), (BEN, "Call connected", 1)],
    "follow_me": [(BEN, "Accepted", 2), (BEN, "Call connected", 1)],
    "sip_forwarding": [(BEN, "Missed", 1), (BEN, "Unknown", 1)],
    "transferred_outside": [(BEN, "Accepted", 2), (BEN, "Call connected", 1)],
    "transfer_to_voicemail": [(BEN, "Accepted", 2)],
    "consultation": [(BEN, "Accepted", 2)],
    "park_location": [(BEN, "Accepted", 2), (BEN, "Call connected", 1)],
    "ringout_one_session": [(BEN, "Call connected", 2)],
    "ringout_one_session_unanswered": [(BEN, "No Answer", 2)],
    "menu_never_answered": [(BEN, "Accepted", 2)],
    "simultaneous_ring": [(BEN, "Accepted", 2)],
    "pick_up": [(BEN, "Answered Elsewhere", 1)],
    "queue_voicemail": [(BEN, "Missed", 1)],
    "internal_missed": [(BEN, "No Answer", 1)],
    "internal_voicemail": [(BEN, "Call connected", 1)],
    "internal_transferred_outside": [(BEN, "Call connected", 1)],
    "own_main_number": [(BEN, "Call connected", 1)],
    "same_number_inbound": [(BEN, "Accepted", 2)],
    "blocked": [(BEN, "International Disabled", 1)],
    "anonymous_caller": [(BEN, "Accepted", 2)],
}
"""The records of a script's first session that Ben may see when he plays the agent.

In `menu_abandoned` and `call_back` that session has none of his.
"""


async def test_a_user_without_company_rights_gets_a_call_of_every_script_that_concerns_him(
    sqlite_url: str, tmp_path: Path
) -> None:
    wishes = CallOptions(
        talk_seconds=90, ring_seconds=3, hold_seconds=6, agent="102", colleague="101", recorded=False
    )
    async with played(sqlite_url, tmp_path, extract_sync=True, user="-limited", wishes=wishes) as company:
        names = {script: company.sessions(script)[0] for script in OF_BEN_ALONE}
        calls = await company.settled(list(names.values()))
        said = {}
        for script, name in names.items():
            story = told(calls[name], company.calls[script])
            said[script] = story if isinstance(story, str) else list(story.records)
        assert said == {script: list(rows) for script, rows in OF_BEN_ALONE.items()}
        refused = [one["path"] for one in company.world.simulator.requests if one["status"] == 403]
        recordings = [path for path in refused if "/recording/" in path]
        others = Counter(path for path in refused if path not in recordings)
        # The levels of calls, and the time zone of a colleague.
        assert len(others) <= 2
        assert max(others.values(), default=0) <= 2, "what a user may not is not asked again and again"
        assert len(set(recordings)) == len(recordings), "nor is a colleague's recording"


async def test_a_missed_call_whose_record_has_another_session_id_is_one_call(
    sqlite_url: str, tmp_path: Path
) -> None:
    settings = SimulatorSettings(speed=20.0, seed=SEED)
    variables = {"AFTERCALL_INSIGHTS": "off", "RC_JWT": settings.jwt}
    async with world(
        sqlite_url, tmp_path, settings, Faults(split_session_ids=True), variables=variables
    ) as here:
        wishes = CallOptions(ring_seconds=8, agent="101", colleague="102")
        company = PlayedCompany(here, wishes, ["inbound_missed", "inbound_direct"])
        names = [name for script in company.calls for name in company.sessions(script)]
        calls = await company.settled(names)
        (missed,) = company.sessions("inbound_missed")
        assert told(calls[missed], company.calls["inbound_missed"]) == STORIES["inbound_missed"][0]
        listed = (await here.get("/v1/calls"))["data"]
        assert {call["telephonySessionId"] for call in listed} == set(names)
        assert len(listed) == len(names)
