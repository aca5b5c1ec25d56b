"""An outage of the database, seen from outside: two lines in the log, however much is refused meanwhile."""

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from app.simulator import SimulatorSettings
from tests.cluster import Cluster
from tests.e2e.process import Crowd
from tests.e2e.test_following import read_log
from tests.e2e.world import world
from tests.postgres_binaries import NoPostgres

AWAY = "the database is away"


async def test_an_outage_is_two_lines_and_not_hundreds(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    request.getfixturevalue("postgres")  # skips, or fails, where there is none
    try:
        cluster = Cluster()
    except NoPostgres as reason:
        pytest.fail(f"a second PostgreSQL did not start: {reason}")
    try:
        variables = {"AFTERCALL_LOG_LEVEL": "info", "AFTERCALL_LOG_FORMAT": "json"}
        async with world(cluster.url(), tmp_path, SimulatorSettings(speed=20.0), variables=variables) as made:
            crowd = Crowd(made.service.address, made.simulator.settings.account_id)
            async with crowd.delivering():
                await crowd.answers(20)
                await asyncio.to_thread(cluster.halt)
                assert "503" in await crowd.answers(200)
                refused = [await made.reader.get("/v1/calls") for _ in range(5)]
                assert {answer.status_code for answer in refused} == {503}
                await asyncio.to_thread(cluster.start)

                async def is_over() -> bool:
                    lines = read_log(tmp_path / f"service-{made.service.port}.log")
                    return any(line["event"] == f"{AWAY}: over" for line in lines)

                await made.until(is_over, "the end of the outage is not logged")
            text = (tmp_path / f"service-{made.service.port}.log").read_text()
            lines = read_log(tmp_path / f"service-{made.service.port}.log")
    finally:
        cluster.stop()
    about = [line["event"] for line in lines if line["event"].startswith(AWAY)]
    assert about == [AWAY, f"{AWAY}: over"]
    over = next(line for line in lines if line["event"] == f"{AWAY}: over")
    assert over["tries"] >= 10
    assert over["seconds"] > 0
    # The connection that listens for other replicas is lost and found as well.
    others = Counter(
        line["event"] for line in lines if line["level"] not in {"debug", "info"} and line["event"] != AWAY
    )
    assert all(count <= 3 for count in others.values()), others
    assert others.total() <= 12, others
    traces = [line.replace("\\n", "\n") for line in text.splitlines() if "Traceback" in line]
    assert not traces, "\n".join(traces)
