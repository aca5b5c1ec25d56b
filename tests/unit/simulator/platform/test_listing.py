"""Lists, bulk responses and syncs."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.simulator.platform.errors import Refused
from app.simulator.platform.listing import (
    LastPage,
    LogQuery,
    LogRules,
    Page,
    Query,
    SyncSource,
    extract_sync,
    matches_summary,
    multi_status,
    multipart,
    newest_first,
    paged,
    read_log_query,
    sync,
)
from app.simulator.platform.views import revisions
from app.simulator.quirks import Forms, Quirks
from app.simulator.scripting.company import COMPANY
from app.simulator.scripting.model import Json, Record
from app.simulator.timing import Timing
from tests.unit.simulator.platform.test_views import LINKS, TIMING, one_record
from tests.unit.simulator.scripting.test_catalogue import START, play_one

STRICT = LogRules(("dateFrom", "extensionNumber"), True, True)
NOW = START + timedelta(hours=1)
ADDRESS = "http://platform.test/list"


def query(**pairs: str) -> Query:
    return Query(pairs.items())


def page_of(total: int, *, last_page: LastPage = "first", **pairs: str) -> Json:
    records = [{"id": str(number)} for number in range(total)]
    asked = query(**pairs)
    return paged(ADDRESS, asked, Page.read(asked), records, dict, last_page)


def log_query(*, rules: LogRules = STRICT, company_level: bool = True, **pairs: str) -> LogQuery:
    return read_log_query(query(**pairs), NOW, rules, company_level=company_level)


def accepted(selected: LogQuery, record: Record) -> bool:
    return selected.concerns(record) and selected.accepts(record, revisions(record, TIMING)[-1])


# Pages


def test_next_page_is_present_only_if_it_exists() -> None:
    assert "nextPage" in page_of(150, page="1")["navigation"]
    assert "nextPage" not in page_of(150, page="2")["navigation"]
    assert "nextPage" not in page_of(100)["navigation"]


def test_pages_are_numbered_from_one_and_records_from_zero() -> None:
    assert page_of(150, page="2")["paging"] == {
        "page": 2,
        "perPage": 100,
        "pageStart": 100,
        "pageEnd": 149,
    }


def test_an_empty_page_has_no_start_and_end() -> None:
    assert page_of(0)["paging"] == {"page": 1, "perPage": 100}


def test_the_last_page_is_misleading_by_default() -> None:
    assert "page=1&" in page_of(150)["navigation"]["lastPage"]["uri"]
    assert "page=2&" in page_of(150, last_page="correct")["navigation"]["lastPage"]["uri"]
    assert "lastPage" not in page_of(150, last_page="absent")["navigation"]


def test_links_contain_the_effective_parameters() -> None:
    uri = page_of(3, type="Voice")["navigation"]["firstPage"]["uri"]
    assert uri == f"{ADDRESS}?view=Simple&type=Voice&page=1&perPage=100"


@pytest.mark.parametrize(("asked", "size"), [("2000", 1000), ("max", 1000), ("7", 7)])
def test_the_page_size_is_limited(asked: str, size: int) -> None:
    assert page_of(0, perPage=asked)["paging"]["perPage"] == size


@pytest.mark.parametrize("pairs", [{"perPage": "0"}, {"page": "x"}, {"view": "Full"}, {"page": "-1"}])
def test_invalid_parameters_are_refused(pairs: dict[str, Any]) -> None:
    with pytest.raises(Refused) as refusal:
        page_of(1, **pairs)
    assert (refusal.value.status, refusal.value.code) == (400, "CMN-101")


def test_the_newest_record_comes_first() -> None:
    old = play_one("inbound_direct").records[0]
    new = play_one("inbound_direct", start=START + timedelta(minutes=1), number=2).records[0]
    assert newest_first([old, new]) == [new, old]


def test_direction_can_be_repeated() -> None:
    summary = one_record().final.summary
    both = Query([("direction", "Outbound"), ("direction", "Inbound")])
    assert matches_summary(summary, both)
    assert not matches_summary(summary, query(direction="Outbound"))
    assert not matches_summary(summary, query(type="Fax"))


# Call-log filters


def test_a_list_covers_one_day_by_default() -> None:
    assert (log_query().begin, log_query().end) == (NOW - timedelta(days=1), None)


def test_fractions_of_bounds_are_cut() -> None:
    selected = log_query(dateFrom="2026-03-10T18:00:00.900Z", dateTo="2026-03-10T18:30:00.999Z")
    assert selected.begin == datetime(2026, 3, 10, 18, 0, tzinfo=UTC)
    assert selected.end == datetime(2026, 3, 10, 18, 30, tzinfo=UTC)


def test_the_default_start_depends_on_the_given_end() -> None:
    assert log_query(dateTo="2026-03-08T00:00:00Z").begin == datetime(2026, 3, 7, tzinfo=UTC)


def test_session_id_selects_the_records_of_its_session() -> None:
    record, other = one_record(), play_one("internal", number=7).records[0]
    selected = log_query(sessionId=record.session.session_id, view="Detailed")
    assert accepted(selected, record)
    assert not accepted(selected, other)


@pytest.mark.parametrize("name", ["dateFrom", "extensionNumber"])
def test_session_id_cannot_be_combined_with_other_filters(name: str) -> None:
    pairs: dict[str, Any] = {"sessionId": "123", name: "101"}
    with pytest.raises(Refused) as refusal:
        log_query(**pairs)
    assert (refusal.value.code, refusal.value.parameter) == ("CLG-110", name)
    assert f"[sessionId] is not allowed together with parameter [{name}]" in refusal.value.message


def test_a_telephony_session_id_is_not_a_session_id() -> None:
    with pytest.raises(Refused) as refusal:
        log_query(sessionId="s-a0c14f2b77d1ez1928b3f4c10z5e6f70000")
    assert (refusal.value.status, refusal.value.code) == (400, "CMN-101")


def test_the_window_of_a_session_search_can_be_switched_off() -> None:
    wide = LogRules((), False, True)
    assert log_query(rules=wide, sessionId="123").begin == datetime.min.replace(tzinfo=UTC)


def test_older_releases_ignore_the_telephony_session_filter() -> None:
    old = LogRules((), True, False)
    assert accepted(log_query(rules=old, telephonySessionId="s-other"), one_record())
    assert not accepted(log_query(telephonySessionId="s-other"), one_record())


def test_a_phone_number_matches_either_side_with_or_without_plus() -> None:
    record = one_record()
    number = record.final.summary.sender["phoneNumber"]
    assert accepted(log_query(phoneNumber=number), record)
    assert accepted(log_query(phoneNumber=number.lstrip("+")), record)
    assert not accepted(log_query(phoneNumber="15550000000"), record)


def test_recorded_calls_can_be_selected() -> None:
    recorded, unrecorded = one_record(), play_one("inbound_missed").records[0]
    selections: list[dict[str, Any]] = [
        {"recordingType": "All"},
        {"recordingType": "Automatic"},
        {"withRecording": "true"},
    ]
    for pairs in selections:
        assert accepted(log_query(**pairs), recorded)
        assert not accepted(log_query(**pairs), unrecorded)
    assert not accepted(log_query(recordingType="OnDemand"), recorded)


def test_transport_filters_at_extension_level_only() -> None:
    record = one_record()
    assert accepted(log_query(transport="VoIP"), record)
    assert not accepted(log_query(transport="VoIP", company_level=False), record)


# Bulk


def test_a_bulk_response_lists_statuses_first_and_mixes_line_endings() -> None:
    body = multipart([("http://a", 200, {"id": "one"}), ("http://b", 404, {"errorCode": "CMN-102"})], "B")
    parts = [part for part in body.split(b"--B") if part.strip(b"-\r\n ")]
    assert len(parts) == 3
    statuses = json.loads(parts[0].split(b"\r\n\r\n", 1)[1])["response"]
    assert [(one["href"], one["status"]) for one in statuses] == [("http://a", 200), ("http://b", 404)]
    assert b"\r\n" in parts[0]
    assert b"\r\n" not in parts[1]
    assert body.endswith(b"--B--\r\n\n")


def test_the_json_form_names_each_resource() -> None:
    assert multi_status([("one", 200, {"id": "one"})]) == [
        {"resourceId": "one", "status": 200, "body": {"id": "one"}}
    ]


# Sync

PLAIN = Timing(provisional_share=0.0, correction_share=0.0, straggler_share=0.0)


def source(count: int = 3) -> SyncSource:
    records = [
        play_one("inbound_missed", number=number, start=START + timedelta(minutes=number)).records[0]
        for number in range(count)
    ]
    return SyncSource(
        "http://platform.test/sync",
        "company",
        records,
        lambda record: revisions(record, PLAIN),
        LINKS,
        True,
        Forms(Quirks(), COMPANY),
    )


def ids(response: Json) -> list[str]:
    return [record["id"] for record in response["records"]]


def test_a_full_sync_returns_the_newest_records_and_a_token() -> None:
    here = source()
    response = sync(here, query(recordCount="2"), NOW, 250)
    assert ids(response) == [here.records[2].id, here.records[1].id]
    assert response["syncInfo"]["syncType"] == "FSync"


def test_an_incremental_sync_returns_only_what_changed_since() -> None:
    here = source()
    early = START + timedelta(minutes=1, seconds=50)
    first = sync(here, query(recordCount="10"), early, 250)
    token = first["syncInfo"]["syncToken"]
    second = sync(here, query(syncType="ISync", syncToken=token), NOW, 250)
    assert ids(first) == [here.records[1].id, here.records[0].id]
    assert ids(second) == [here.records[2].id]
    third = sync(here, query(syncType="ISync", syncToken=second["syncInfo"]["syncToken"]), NOW, 250)
    assert ids(third) == []


def test_an_old_token_can_be_used_again() -> None:
    here = source()
    token = sync(here, query(recordCount="10"), START, 250)["syncInfo"]["syncToken"]
    asked = query(syncType="ISync", syncToken=token)
    assert ids(sync(here, asked, NOW, 250)) == ids(sync(here, asked, NOW, 250))


@pytest.mark.parametrize("pairs", [{}, {"recordCount": "251"}])
def test_a_full_sync_needs_a_count_within_its_limit(pairs: dict[str, str]) -> None:
    with pytest.raises(Refused) as refusal:
        sync(source(), query(**pairs), NOW, 250)
    assert refusal.value.code == "CMN-101"


@pytest.mark.parametrize("token", ["", "nonsense", "e30"])
def test_a_bad_sync_token_is_refused(token: str) -> None:
    with pytest.raises(Refused) as refusal:
        sync(source(), query(syncType="ISync", syncToken=token), NOW, 250)
    assert (refusal.value.status, refusal.value.code) == (400, "CLG-104")


def test_too_many_changes_invalidate_the_token() -> None:
    here = source(5)
    token = sync(here, query(recordCount="1"), START, 250)["syncInfo"]["syncToken"]
    with pytest.raises(Refused, match="maximum number of sync records"):
        sync(here, query(syncType="ISync", syncToken=token), NOW, 4)


def test_extract_sync_pages_through_records_in_order_of_modification() -> None:
    here, hour_ago = source(5), START - timedelta(hours=1)
    response = extract_sync(here, query(recordCount="2", view="Detailed"), NOW, hour_ago)
    assert ids(response) == [here.records[0].id, here.records[1].id]
    assert response["syncInfo"]["newerRecordsExist"] is True
    token = response["syncInfo"]["syncToken"]
    rest = extract_sync(here, query(syncType="ISync", syncToken=token), NOW, hour_ago)
    assert ids(rest) == [record.id for record in here.records[2:]]
    assert rest["syncInfo"]["newerRecordsExist"] is False
    assert "legs" in rest["records"][0]


def test_a_sync_token_of_the_other_resource_is_refused() -> None:
    token = sync(source(), query(recordCount="1"), NOW, 250)["syncInfo"]["syncToken"]
    with pytest.raises(Refused, match="another resource"):
        extract_sync(source(), query(syncType="ISync", syncToken=token), NOW, START)
