"""RingCentral's lists through the service: filters, pages, records, sharing, age, refusals."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select

from app.accounts.access import Access, Level
from app.call_log_api.filters import CallLogFilters
from app.call_log_api.lists import CallLogLists
from app.call_log_api.response_cache import ResponseCache
from app.db.tables import credentials, rc_cache
from app.ids import ExtensionId
from app.ringcentral.protocol.calls import ActiveCallsQuery, CallLogQuery
from tests.conftest import answer_to
from tests.factories_calls import ACCOUNT, ANA, BEN
from tests.fakes.reader_stage import Json, Stage, simulated, staged

ACTIVE, LOG = "/v1/active-calls", "/v1/call-log"


async def get(stage: Stage, path: str, **params: Any) -> Json:
    answer = await stage.reader.get(path, params=params)
    assert answer.status_code == 200, answer.text
    body: Json = answer.json()
    return body


async def settled(stage: Stage, path: str, count: int) -> list[Json]:
    """Wait until the list has this many records, with a different query each time, to bypass the cache."""
    pages = iter(range(900, 1000))

    async def ask() -> list[Json] | None:
        records: list[Json] = (await get(stage, path, perPage=next(pages)))["records"]
        return records if len(records) >= count else None

    return await answer_to(ask)


async def test_the_call_log_is_returned_as_ringcentral_sent_it(stage: Stage) -> None:
    truth = await stage.play("inbound_direct", agent="101")
    (record,) = await settled(stage, LOG, 1)
    assert record["sessionId"] == truth["sessions"][0]["sessionId"]
    assert record["uri"].startswith(stage.simulator.links.platform)
    body = await get(stage, LOG)
    assert (body["account"], body["extensionId"], body["nextPage"]) == ("908070001", None, None)
    assert body["paging"] == {"page": 1, "perPage": 100, "pageStart": 0, "pageEnd": 0}
    assert "legs" not in body["records"][0]
    assert (await get(stage, LOG, view="Detailed"))["records"][0]["legs"]


@pytest.mark.parametrize("level", ["", f"/extensions/{ANA}"])
async def test_active_calls_are_listed_at_both_levels(stage: Stage, level: str) -> None:
    await stage.play("inbound_direct", agent="101", talkSeconds=5)
    path = f"/v1{level}/active-calls"
    (record,) = await settled(stage, path, 1)
    assert record["direction"] == "Inbound"
    assert (await get(stage, path, direction="Outbound"))["records"] == []
    asked = stage.asked("active-calls")[-1]["path"]
    assert (f"/extension/{ANA}/" in asked) == bool(level)


async def test_filters_are_sent_to_ringcentral(stage: Stage) -> None:
    await stage.play("inbound_direct", agent="101", customer="+15550179001", recorded=False)
    await stage.play("outbound_answered", agent="102", customer="+15550179002", recorded=False)
    await settled(stage, LOG, 2)

    async def found(**filters: Any) -> list[str]:
        records = (await get(stage, LOG, **filters))["records"]
        return [record["direction"] for record in records]

    assert await found(direction="Outbound") == ["Outbound"]
    assert sorted(await found(direction=["Inbound", "Outbound"])) == ["Inbound", "Outbound"]
    assert await found(phoneNumber="+15550179002") == ["Outbound"]
    assert await found(phoneNumber="15550179001") == ["Inbound"]
    for spelling in ("(555) 017-9001", "+1 555-017-9001", " 15550179001", "001 555 017 9001"):
        assert await found(phoneNumber=spelling) == ["Inbound"], spelling
    assert await found(type="Fax") == []
    assert await found(recordingType="All") == []
    assert await found(dateTo="2020-01-01T00:00:00+01:00") == []
    assert await found(dateFrom="2020-01-01T00:00:00Z", dateTo="2199-01-01T00:00:00Z", type="Voice")


@pytest.mark.parametrize(
    ("written", "region", "sent"),
    [
        ("+15550179001", None, ("+15550179001", None)),
        (" 4930123456", "US", ("+4930123456", None)),
        ("(555) 017-9001", "US", ("+15550179001", None)),
        ("030 1234567", "DE", ("+49301234567", None)),
        ("+49 030 1234567", "DE", ("+49301234567", None)),
        ("101", "US", (None, "101")),
        ("x101", None, (None, "101")),
        ("911", "US", ("911", None)),
    ],
)
def test_a_number_is_sent_as_ringcentral_reads_it(
    written: str, region: str | None, sent: tuple[str | None, str | None]
) -> None:
    query = CallLogFilters.model_validate({"phoneNumber": written}).query(region)
    assert (query.phone_number, query.extension_number) == sent


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("anonymous", "filtered by one telephone number"),
        ("*80", "filtered by one telephone number"),
        ("+1555017XXXX", "filtered by one telephone number"),
        ("14567891230*102", "filtered by one telephone number"),
        ("030 1234567", "AFTERCALL_HOME_COUNTRY"),
    ],
)
async def test_a_number_that_ringcentral_cannot_filter_by_is_refused(
    stage: Stage, written: str, reason: str
) -> None:
    answer = await stage.reader.get(LOG, params={"phoneNumber": written})
    assert (answer.status_code, answer.json()["parameter"]) == (422, "phoneNumber")
    assert reason in answer.json()["detail"]
    assert stage.asked() == []


@pytest.mark.parametrize(
    ("asked", "sent"),
    [
        (["Automatic", "OnDemand"], "All"),
        (["Automatic", "Automatic"], "Automatic"),
        (["OnDemand"], "OnDemand"),
        (["All", "OnDemand"], "All"),
    ],
)
def test_several_recording_types_become_ringcentrals_one_value(asked: list[str], sent: str) -> None:
    query = CallLogFilters.model_validate({"recordingType": asked}).query()
    assert query.recording_type == sent


async def test_a_recording_type_may_be_repeated(stage: Stage) -> None:
    await get(stage, LOG, recordingType=["Automatic", "OnDemand"])


async def test_extension_filters_are_refused_for_accounts(stage: Stage) -> None:
    await stage.play("inbound_direct", agent="101")
    await settled(stage, f"/v1/extensions/{ANA}/call-log", 1)
    path = f"/v1/extensions/{ANA}/call-log"
    for transport in ("PSTN", "VoIP"):
        await get(stage, path, transport=transport, showBlocked=False)
    assert (await get(stage, f"/v1/extensions/{BEN}/call-log"))["records"] == []
    assert (await stage.reader.get(LOG, params={"transport": "PSTN"})).status_code == 422


@pytest.mark.parametrize(
    "params",
    [
        {"direction": "Sideways"}, {"type": "SMS"}, {"view": "Simply"}, {"recordingType": "None"},
        {"dateFrom": "2026-03-10T18:00:00"}, {"dateFrom": "yesterday"}, {"dateTo": "1773165000"},
        {"page": 0}, {"perPage": 0}, {"perPage": 1001}, {"perPage": "max"}, {"phoneNumber": "Dana"},
        {"extensionNumber": "1o1"}, {"sessionID": "1"}, {"sessionId": "s-a0c14f2b"}, {"sessionId": "0"},
        {"sessionId": "1229016182016", "direction": "Inbound"}, {"sessionId": "1229016182016", "page": 1},
        {"phoneNumber": "+15550179001", "extensionNumber": "101"},
        {"dateFrom": "2026-03-10T18:00:00Z", "dateTo": "2026-03-10T17:00:00Z"},
        {"view": ["Simple", "Detailed"]}, {"page": [1, 2]}, {"phoneNumber": ["101", "102"]},
        {"recordingType": ["All", "None"]},
    ],
)  # fmt: skip
async def test_invalid_filters_are_refused_before_ringcentral_sees_them(stage: Stage, params: Json) -> None:
    answer = await stage.reader.get(LOG, params=params)
    assert answer.status_code == 422
    assert answer.json()["fault"] == "caller"
    assert stage.asked() == []


async def test_one_session_is_found_with_view_alone(stage: Stage) -> None:
    truth = await stage.play("queue_answered")
    await stage.play("inbound_direct")
    await settled(stage, LOG, 3)
    session_id = truth["sessions"][0]["sessionId"]
    records = (await get(stage, LOG, sessionId=session_id, view="Detailed"))["records"]
    assert {record["sessionId"] for record in records} == {session_id}
    assert records[0]["legs"]


async def test_all_pages_have_the_same_time_range(stage: Stage) -> None:
    for _ in range(5):
        await stage.play("inbound_direct", talkSeconds=2)
    everything = [record["id"] for record in await settled(stage, LOG, 5)]
    address: str | None = f"{LOG}?perPage=2&direction=Inbound&direction=Outbound"
    found, first = [], None
    while address:
        answer = await stage.reader.get(address)
        body = answer.json()
        found += [record["id"] for record in body["records"]]
        address = body["nextPage"]
        first = first or address
        assert ("link" in answer.headers) == (address is not None)
    assert found == everything
    assert first is not None
    assert "direction=Inbound&direction=Outbound" in first
    assert "dateFrom=" in first
    assert "dateTo=" in first


async def test_a_time_range_that_starts_in_the_future_is_not_negative(stage: Stage) -> None:
    ahead = stage.process.clock.now() + timedelta(days=1)
    found = await stage.process.lists.call_log(ACCOUNT, None, CallLogQuery(date_from=ahead))
    assert found.body["dateFrom"] <= found.body["dateTo"]
    assert found.body["records"] == []


async def test_a_page_after_the_last_one_is_empty(stage: Stage) -> None:
    await stage.play("inbound_direct", talkSeconds=2)
    await settled(stage, LOG, 1)
    body = await get(stage, LOG, page=50)
    assert (body["records"], body["nextPage"]) == ([], None)
    assert body["paging"] == {"page": 50, "perPage": 100}


async def test_an_offset_with_an_unescaped_plus_is_accepted(stage: Stage) -> None:
    answer = await stage.reader.get(
        f"{LOG}?dateFrom=2026-03-10T19:00:00+01:00&dateTo=2026-03-10T20:00:00+01:00"
    )
    assert answer.status_code == 200


async def test_a_server_that_ignores_the_page_does_not_make_lists_endless(stage: Stage) -> None:
    await stage.play("inbound_direct", talkSeconds=5)
    await settled(stage, ACTIVE, 1)
    stage.faults(active_calls_drop_parameters=True)
    second = await get(stage, ACTIVE, page=2)
    assert (second["records"], second["nextPage"]) == ([], None)
    assert (await get(stage, ACTIVE, direction="Outbound"))["records"] == [], "the filter holds all the same"


async def test_records_are_read_by_id(stage: Stage) -> None:
    for _ in range(3):
        await stage.play("inbound_direct", talkSeconds=2)
    ids = [record["id"] for record in await settled(stage, LOG, 3)]
    answer = await stage.reader.get(f"{LOG}/{ids[0]}", params={"view": "Detailed"})
    assert (answer.status_code, answer.json()["id"]) == (200, ids[0])
    assert answer.json()["legs"]
    body = {"ids": [ids[1], "nope", ids[2], ids[1]]}
    items = (await stage.reader.post(f"{LOG}/batch-get", json=body)).json()["data"]
    assert [(item["id"], item["status"]) for item in items] == [
        (ids[1], 200), ("nope", 404), (ids[2], 200), (ids[1], 200),
    ]  # fmt: skip
    assert items[0]["record"]["id"] == ids[1]
    assert items[1]["why"] == "CMN-102"
    missing = await stage.reader.get(f"{LOG}/nope")
    assert (missing.status_code, missing.json()["ringCentral"]["code"]) == (404, "CMN-102")
    own = await stage.reader.post(f"/v1/extensions/{ANA}{LOG.removeprefix('/v1')}/batch-get", json=body)
    assert own.status_code == 200


async def test_a_batch_requests_only_records_that_are_not_cached(stage: Stage) -> None:
    for _ in range(2):
        await stage.play("inbound_direct", talkSeconds=2)
    first, second = (record["id"] for record in await settled(stage, LOG, 2))
    await stage.reader.get(f"{LOG}/{first}")
    await stage.reader.post(f"{LOG}/batch-get", json={"ids": [first, second]})
    assert stage.asked("call-log/")[-1]["path"].endswith(f"call-log/{second}")
    asked = len(stage.asked())
    for record_id in (first, second):
        await stage.reader.get(f"{LOG}/{record_id}")
    await stage.reader.post(f"{LOG}/batch-get", json={"ids": [second, first]})
    assert len(stage.asked()) == asked


async def test_a_repeated_query_is_served_from_the_cache_with_its_age(any_stage: Stage) -> None:
    stage = any_stage
    await stage.play("inbound_direct")
    await settled(stage, LOG, 1)
    asked = len(stage.asked())
    first, again = [await stage.reader.get(LOG, params={"direction": "Inbound"}) for _ in range(2)]
    assert len(stage.asked()) == asked + 1
    assert first.json() == again.json()
    assert first.headers["cache-control"] == "private, max-age=15"
    assert int(again.headers["age"]) >= 0
    other = await stage.reader.get(LOG, params={"direction": "Outbound"})
    assert other.json()["records"] == []
    assert len(stage.asked()) == asked + 2


async def test_concurrent_clients_share_one_request(any_stage: Stage) -> None:
    stage = any_stage
    stage.faults(latency_seconds=0.3)
    answers = await asyncio.gather(*(stage.reader.get(ACTIVE) for _ in range(8)))
    assert {answer.status_code for answer in answers} == {200}
    assert len(stage.asked("active-calls")) == 1


async def test_replicas_share_one_request(any_stage: Stage) -> None:
    process = any_stage.process
    memory = ResponseCache(process.database, process.clock, lease=60.0)
    other = CallLogLists(process.clock, process.connections, memory, process.lists.rules)
    any_stage.faults(latency_seconds=0.3)
    query = ActiveCallsQuery()
    answers = await asyncio.gather(
        *(lists.active_calls(ACCOUNT, None, query) for lists in (process.lists, other))
    )
    assert answers[0].fetched_at == answers[1].fetched_at
    assert len(any_stage.asked("active-calls")) == 1


async def test_stale_responses_are_requested_again_and_deleted(make_settings: Any, database_url: str) -> None:
    window = {"active_calls_window_seconds": 2.0, "active_calls_lag_min_seconds": 0.1}
    window["active_calls_lag_max_seconds"] = 0.2
    async with staged(make_settings, database_url, simulated(), **window) as stage:
        await stage.reader.get(ACTIVE)
        await asyncio.sleep(0.15)
        await stage.reader.get(ACTIVE)
        assert len(stage.asked("active-calls")) == 2
        async with stage.database.read() as db:
            assert await db.scalar(select(func.count()).select_from(rc_cache)) == 1


async def test_a_failure_reaches_all_waiting_requests_and_is_not_cached(stage: Stage) -> None:
    stage.faults(latency_seconds=0.2, missing_scopes=("ReadCallLog",))
    answers = await asyncio.gather(*(stage.reader.get(ACTIVE) for _ in range(3)))
    assert {answer.status_code for answer in answers} == {502}
    assert len(stage.asked("active-calls")) == 1
    problem = answers[0].json()
    assert problem["type"] == "/problems/ringcentral-permission"
    assert problem["ringCentral"]["code"] in {"CMN-401", "InsufficientPermissions"}
    stage.faults()
    assert (await stage.reader.get(ACTIVE)).status_code == 200


async def test_without_company_permission_only_the_own_extension_is_listed(
    make_settings: Any, sqlite_url: str
) -> None:
    async with staged(make_settings, sqlite_url, simulated(), rc_jwt="sim-jwt-limited") as stage:
        assert (await stage.reader.get(LOG)).status_code == 502
        again = await stage.reader.get(LOG)
        assert (again.status_code, again.json()["permission"]) == (502, "ReadCompanyCallLog")
        assert len(stage.asked("call-log")) == 1, "what is known to be refused is not asked again"
        assert (await stage.reader.get(f"/v1/extensions/{BEN}/call-log")).status_code == 200
        assert (await stage.reader.get(f"/v1/extensions/{ANA}/call-log")).status_code == 502


async def test_an_extension_that_ringcentral_does_not_know_is_not_found(stage: Stage) -> None:
    unknown = "/v1/extensions/101"
    batch = {"ids": ["QX7f14l8Nt_2aVB", "QX7nope"]}
    for answer in (
        await stage.reader.get(f"{unknown}/call-log"),
        await stage.reader.get(f"{unknown}/call-log", params={"sessionId": "1229016182016"}),
        await stage.reader.get(f"{unknown}/active-calls"),
        await stage.reader.post(f"{unknown}/call-log/batch-get", json=batch),
    ):
        problem = answer.json()
        assert (answer.status_code, problem["type"], problem["fault"]) == (
            404,
            "/problems/not-found",
            "caller",
        )
        assert problem["ringCentral"]["code"] == "CMN-102"
        assert "not the number that people dial" in problem["detail"]
    record = (await stage.reader.get(f"{unknown}/call-log/QX7nope")).json()
    assert record["detail"] == "RingCentral has no record QX7nope of extension 101, or does not have it yet"
    assert (await stage.reader.get(f"/v1/extensions/{ANA}/call-log")).status_code == 200, "others are served"


async def test_client_requests_leave_budget_for_polls(make_settings: Any, sqlite_url: str) -> None:
    limits = {"Light": 100, "Medium": 100, "Heavy": 10, "Auth": 100}
    simulator = simulated(rate_limits=limits, speed=1.0)
    few = {"rate_limit_heavy": 10, "rate_limit_window_seconds": 6.0}
    async with staged(make_settings, sqlite_url, simulator, **few) as stage:
        answers = [await stage.reader.get(LOG, params={"perPage": number}) for number in range(1, 13)]
        served = [answer for answer in answers if answer.status_code == 200]
        refused = [answer for answer in answers if answer.status_code == 503]
        assert len(served) + len(refused) == 12
        assert refused
        assert refused[0].json()["fault"] == "limit"
        assert int(refused[0].headers["retry-after"]) >= 1
        own = await stage.process.connections.own()
        assert own is not None
        page = await own.client.fetch_active_calls_page(1, 100)
        assert page.page == 1, "a poll is served at once"
        assert all(one["status"] != 429 for one in stage.simulator.requests)


async def test_a_key_is_required(stage: Stage) -> None:
    stage.reader.headers["Authorization"] = "Bearer ak_nobodys"
    for path in (ACTIVE, LOG, f"{LOG}/x", f"/v1/extensions/{ANA}/active-calls"):
        assert (await stage.reader.get(path)).status_code == 401


async def test_credentials_of_an_extension_are_used_for_its_lists(
    make_settings: Any, sqlite_url: str
) -> None:
    async with staged(make_settings, sqlite_url, simulated()) as stage:
        access = Access(Level.EXTENSION, ExtensionId(BEN))
        async with stage.database.write() as db:
            await db.execute(
                credentials.insert().values(
                    account_id="~", name="own", kind="own", access=access.to_json(),
                    updated_at=stage.process.clock.now(),
                )
            )  # fmt: skip
        stage.process.connections.forget()
        assert (await stage.reader.get(f"/v1/extensions/{BEN}/active-calls")).status_code == 200
        assert (await stage.reader.get(ACTIVE)).json()["permission"] == "ReadCompanyCallLog"
