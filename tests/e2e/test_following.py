"""One webhook can be followed through the log, from its arrival to the final record of its call."""

import json
from pathlib import Path
from typing import Any

from app.simulator import SimulatorSettings, Timing
from app.simulator.scripting.casting import CallOptions
from tests.e2e.world import world


async def test_one_webhook_is_followed_from_intake_to_the_final_record(
    sqlite_url: str, tmp_path: Path
) -> None:
    timing = Timing(straggler_share=0.0, provisional_share=0.0, correction_share=0.0)
    settings = SimulatorSettings(speed=20.0, timing=timing)
    variables = {"AFTERCALL_LOG_LEVEL": "debug", "AFTERCALL_LOG_FORMAT": "json"}
    async with world(sqlite_url, tmp_path, settings, variables=variables) as made:
        call = made.simulator.start_call("inbound_direct", CallOptions(talk_seconds=20, ring_seconds=3))
        name = call.sessions[0].telephony_session_id
        (shown,) = await made.reached("final", name)
        lines = read_log(tmp_path / f"service-{made.service.port}.log")
        people = [made.simulator.settings.jwt, shown["externalNumber"], shown["from"].get("name")]

    stored = [
        line for line in lines if line["event"] == "delivery stored" and line["telephony_session_id"] == name
    ]
    assert stored
    first = stored[0]
    assert first["request_id"]
    folded = next(
        line for line in lines if line["event"] == "delivery folded" and line["uuid"] == first["uuid"]
    )
    assert (folded["telephony_session_id"], folded["loop"]) == (name, "fold")

    # What the level info shows of a call: a line for each stage.
    stages = [line for line in lines if line["event"] == "call" and line["call_id"] == shown["id"]]
    assert {line["level"] for line in stages} == {"info"}
    named = [line["stage"] for line in stages]
    assert named[0] == "live"
    assert named[-1] == "final"
    assert "bootstrapped" in named
    assert len(named) <= 8
    assert {line["telephony_session_id"] for line in stages} == {name}
    assert {line["account_id"] for line in stages} == {first["account_id"]}
    assert stages[0]["uuid"] in {line["uuid"] for line in stored}

    requests = [line for line in lines if line["event"] == "request" and line["route"] == "/v1/calls/{call}"]
    assert {line["call"] for line in requests} == {name}
    assert all(line["key_id"] and line["request_id"] for line in requests)
    text = json.dumps(lines)
    assert not any(word and word in text for word in people)


def read_log(path: Path) -> list[dict[str, Any]]:
    *lines, _ = path.read_text().split("\n")  # the last may be half written
    assert lines
    return [json.loads(line) for line in lines]
