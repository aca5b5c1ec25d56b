"""Calls that belong together, from the simulator's scripts to the connector API, over real HTTP."""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from app.simulator import SimulatorSettings
from app.simulator.scripting.casting import CallOptions
from app.simulator.scripting.company import COMPANY
from tests.e2e.world import Json, World, world

LINKED = {
    "warm_transfer": "attendedTransfer",
    "conference": "conference",
    "ringout": "ringOut",
    "picked_up_elsewhere": "pickup",
    "supervised": "supervising",
}
MAIN = {"warm_transfer": 0, "conference": 0, "ringout": 1, "picked_up_elsewhere": 0, "supervised": 0}
"""Which session of each is the customer's call, in the order of the script's sessions."""

ALONE = {
    "queue_answered": 2,
    "queue_abandoned": 3,
    "blind_transfer": 2,
    "park_and_pickup": 2,
    "own_number": 2,
}
"""How many records the one call of each of these has."""

CUSTOMERS = {customer.number for customer in COMPANY.customers}

pytestmark = pytest.mark.asyncio(loop_scope="module")


class Played:
    """A company that has played each script once, and the service that heard of it."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._calls = {
            script: world.simulator.start_call(
                script, CallOptions(talk_seconds=30, ring_seconds=3), delay_seconds=place
            )
            for place, script in enumerate((*LINKED, *ALONE))
        }

    def sessions(self, script: str) -> list[tuple[str, str]]:
        """Return (telephonySessionId, sessionId) of the sessions of a script, in their order."""
        return [(one.telephony_session_id, one.session_id) for one in self._calls[script].sessions]

    def record_ids(self, script: str) -> set[str]:
        return {record.id for record in self._calls[script].records}

    async def conversation(self, name: str) -> Json:
        """Return the conversation of a call."""
        return await self._world.get(f"/v1/conversations/{name}")

    async def listed(self, **filters: str) -> list[Json]:
        """Return the first page of a list of calls."""
        page: list[Json] = (await self._world.get("/v1/calls", limit="200", **filters))["data"]
        return page

    async def shown(self, *names: str) -> list[Json]:
        """Return calls once the Call Log has been read for all of them."""
        return await self._world.reached("reconciled", *names)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def played(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Played]:
    folder = tmp_path_factory.mktemp("linked")
    shutil.copyfile(sqlite_template, folder / "aftercall.db")
    url = f"sqlite:///{folder / 'aftercall.db'}"
    async with world(url, folder, SimulatorSettings(speed=20.0)) as here:
        yield Played(here)


@pytest.mark.parametrize("script", sorted(LINKED))
async def test_both_calls_of_a_conversation_show_each_other(played: Played, script: str) -> None:
    (first, first_number), (second, second_number) = played.sessions(script)
    one, other = await played.shown(first, second)
    assert one["id"] != other["id"]
    assert one["related"] == [
        {
            "kind": LINKED[script],
            "telephonySessionId": second,
            "sessionId": None if second_number == "0" else second_number,
            "callId": other["id"],
        }
    ]
    assert [(link["kind"], link["callId"]) for link in other["related"]] == [(LINKED[script], one["id"])]
    assert other["related"][0]["sessionId"] == first_number
    assert one["conversationId"] == other["conversationId"]
    assert one["conversationId"].startswith("conv_")


@pytest.mark.parametrize("script", sorted(LINKED))
async def test_the_customers_call_is_the_main_one(played: Played, script: str) -> None:
    pair = await played.shown(*(session for session, _ in played.sessions(script)))
    main = pair[MAIN[script]]
    assert main["externalNumber"] in CUSTOMERS
    for call in pair:
        assert call["conversation"] == {
            "id": call["conversationId"],
            "mainCallId": main["id"],
            "isMain": call is main,
        }
        conversation = await played.conversation(call["id"])
        assert [one["id"] for one in conversation["calls"] if one["isMain"]] == [main["id"]]
        assert {one["id"] for one in conversation["calls"]} == {one["id"] for one in pair}
        assert conversation["outcome"] == "answered"


async def test_each_conversation_is_one_entry_for_a_crm(played: Played) -> None:
    pairs = {
        script: await played.shown(*(session for session, _ in played.sessions(script))) for script in LINKED
    }
    listed = {call["id"] for call in await played.listed(unlinkedCrm="hubspot")}
    mains = {call["id"] for call in await played.listed(main="true")}
    others = {call["id"] for call in await played.listed(main="false")}
    for script, pair in pairs.items():
        ids = [call["id"] for call in pair]
        assert [call_id in mains for call_id in ids] == [place == MAIN[script] for place in range(2)], script
        assert [call_id in listed for call_id in ids] == [place == MAIN[script] for place in range(2)], script
    assert not mains & others


@pytest.mark.parametrize("script", sorted(ALONE))
async def test_what_happens_within_one_session_is_one_call(played: Played, script: str) -> None:
    ((session, number),) = played.sessions(script)
    call, same = await played.shown(session, number)
    assert (call["related"], call["conversationId"]) == ([], None)
    assert call["conversation"] == {"id": None, "mainCallId": call["id"], "isMain": True}
    assert same["id"] == call["id"]
    ids = {record["id"] for record in call["records"]}
    assert ids <= played.record_ids(script)
    assert len(played.record_ids(script)) == ALONE[script]


async def test_the_missed_members_of_a_queue_are_records_of_its_one_call(played: Played) -> None:
    ((session, _),) = played.sessions("queue_answered")
    (call,) = await played.shown(session)
    assert call["outcome"] == "answered"
    primary, *others = call["records"]
    assert (primary["result"], primary["primary"]) == ("Accepted", True)
    assert [record["result"] for record in others] == ["Missed"]


async def test_who_calls_his_own_number_is_not_answered_by_anybody(played: Played) -> None:
    ((session, _),) = played.sessions("own_number")
    (call,) = await played.shown(session)
    assert (call["outcome"], call["answerTime"], call["internal"]) == ("voicemail", None, True)
