"""One call through every mapping, and the calls that a CRM treats differently."""

from typing import Any
from zoneinfo import ZoneInfo

import pytest

from app.projections.inputs import Context
from app.projections.mappings.model import Crm
from app.projections.projecting import project
from app.projections.schemas import ProjectionOut
from tests.projected_calls import ANA, CALL_ID, call, missed, note, object_of, outbound, projected

LOS_ANGELES = ZoneInfo("America/Los_Angeles")
NOTE = note("Offer: $1,000\n- by Friday\n<b>40</b> seats", title="Offer", author={"name": "Ana Ruiz"})
HTML = (
    "<p>Inbound call: answered<br>Answered by Ana Ruiz (extension 101)<br>Talk 01:33, Ringing 00:03<br>"
    f"Call id: {CALL_ID}</p>"
    "<p><strong>Offer, by Ana Ruiz</strong><br>Offer: $1,000<br>- by Friday<br>"
    "&lt;b&gt;40&lt;/b&gt; seats</p>"
)
PLAIN = (
    "Inbound call: answered\nAnswered by Ana Ruiz (extension 101)\nTalk 01:33, Ringing 00:03\n"
    f"Call id: {CALL_ID}\n\n"
    "Offer, by Ana Ruiz\nOffer: $1,000\n- by Friday\n<b>40</b> seats"
)
RECORDING = "https://calls.northwind-tea.example/3019664700.mp3"


def body(shown: Any, crm: Crm, name: str | None = None, **context: Any) -> Any:
    return projected(shown, crm, name, **{"zone": LOS_ANGELES} | context)["request"]["body"]


def test_the_example_of_the_api_description_is_a_projection() -> None:
    config: Any = ProjectionOut.model_config
    example = config["json_schema_extra"]["example"]
    assert ProjectionOut.model_validate(example).model_dump(mode="json", by_alias=True) == example


def test_hubspot() -> None:
    shown = projected(call(notes=[NOTE]), Crm.HUBSPOT)
    assert shown["request"] == {
        "method": "POST",
        "path": "/crm/objects/2026-09/calls",
        "body": {
            "properties": {
                "hs_timestamp": "2026-03-10T18:07:41.012Z",
                "hs_call_title": "Call from Dana Field",
                "hs_call_body": HTML,
                "hs_call_direction": "INBOUND",
                "hs_call_status": "COMPLETED",
                "hs_call_disposition": "f240bbac-87c9-4f6e-bf70-924b57d47db7",
                "hs_call_duration": "96000",
                "hs_call_from_number": "+15550179001",
                "hs_call_to_number": "+15550100101",
                "hs_call_source": "INTEGRATIONS_PLATFORM",
                "hs_call_external_id": CALL_ID,
                "hs_call_external_account_id": "908070001",
            }
        },
    }
    assert shown["externalId"]["field"] == "hs_call_external_id"
    assert shown["lookups"] == [
        {"field": "hubspot_owner_id", "what": "owner", "by": "email", "value": ANA["email"]},
        {"field": "associations", "what": "contact", "by": "phoneNumber", "value": "+15550179001"},
    ]
    assert (shown["safeToCreate"], shown["reasons"], shown["warnings"]) == (True, [], [])


def test_salesforce_task() -> None:
    assert body(call(notes=[NOTE]), Crm.SALESFORCE) == {
        "Subject": "Call from Dana Field",
        "Status": "Completed",
        "Priority": "Normal",
        "TaskSubtype": "Call",
        "ActivityDate": "2026-03-10",
        "Description": PLAIN,
        "CallType": "Inbound",
        "CallDurationInSeconds": 96,
        "CallDisposition": "Answered",
        "CallObject": CALL_ID,
    }


def test_the_day_of_a_salesforce_task_is_the_owners() -> None:
    late = call(startTime="2026-03-11T02:30:00.000Z", endTime="2026-03-11T02:32:00.000Z")
    assert body(late, Crm.SALESFORCE)["ActivityDate"] == "2026-03-10"
    assert body(late, Crm.SALESFORCE, zone=ZoneInfo("Asia/Kolkata"))["ActivityDate"] == "2026-03-11"


def test_salesforce_voice_call() -> None:
    shown = projected(call(notes=[NOTE]), Crm.SALESFORCE, "voiceCall", recording_url=RECORDING)
    assert shown["request"] == {
        "method": "PATCH",
        "path": f"/telephony/v1/voiceCalls/{CALL_ID}",
        "body": {
            "startTime": "2026-03-10T18:07:41.012Z",
            "endTime": "2026-03-10T18:09:17.120Z",
            "acceptTime": "2026-03-10T18:07:44.300Z",
            "fromNumber": "+15550179001",
            "recordingLocation": RECORDING,
        },
    }
    assert [one["code"] for one in shown["warnings"]] == ["notes-left-out"]


def test_pipedrive() -> None:
    assert body(call(notes=[NOTE]), Crm.PIPEDRIVE) == {
        "subject": "Call from Dana Field",
        "outcome": "connected",
        "from_phone_number": "+15550179001",
        "to_phone_number": "+15550100101",
        "start_time": "2026-03-10 18:07:41",
        "end_time": "2026-03-10 18:09:17",
        "duration": "96",
        "note": HTML,
    }


def test_zoho() -> None:
    assert body(call(notes=[NOTE]), Crm.ZOHO) == {
        "data": [
            {
                "Subject": "Call from Dana Field",
                "Call_Type": "Inbound",
                "Call_Start_Time": "2026-03-10T11:07:41-07:00",
                "Call_Duration": "01:36",
                "Description": PLAIN,
            }
        ]
    }


def test_a_missed_call_in_zoho_has_no_duration() -> None:
    (record,) = body(missed(), Crm.ZOHO)["data"]
    assert record["Call_Type"] == "Missed"
    assert "Call_Duration" not in record


def test_zendesk() -> None:
    shown = projected(call(queueName="Sales"), Crm.ZENDESK, app_id="735264019863524")
    assert shown["request"] == {
        "method": "POST",
        "path": "/api/v2/calls",
        "body": {
            "app_id": 735264019863524,
            "direction": "inbound",
            "from_line": "+15550179001",
            "to_line": "+15550100101",
            "call_started_at": "2026-03-10T18:07:41.012Z",
            "call_ended_at": "2026-03-10T18:09:17.120Z",
            "completion_status": "completed",
            "call_disposition": "Answered",
            "talk_time": 93,
            "hold_time": 0,
            "queue_name": "Sales",
            "external_id": CALL_ID,
        },
    }
    assert shown["safeToCreate"]


def test_zendesk_without_an_app_is_not_safe_to_create() -> None:
    shown = projected(call(), Crm.ZENDESK)
    assert not shown["safeToCreate"]
    assert shown["reasons"] == [
        {
            "code": "field-missing",
            "field": "app_id",
            "detail": "The CRM requires app_id: send the parameter `appId`",
        }
    ]


def test_dynamics() -> None:
    shown = projected(outbound(notes=[NOTE]), Crm.DYNAMICS)
    guid = "aa0693e8-29a2-51f7-b430-a1f1f6593b89"
    assert shown["request"]["body"] == {
        "activityid": guid,
        "subject": "Call to Dana Field",
        "description": PLAIN.replace("Inbound", "Outbound"),
        "directioncode": True,
        "phonenumber": "+15550179001",
        "actualstart": "2026-03-10T18:07:41.012Z",
        "actualend": "2026-03-10T18:09:17.120Z",
        "actualdurationminutes": 2,
        "leftvoicemail": False,
    }
    assert shown["followUps"] == [
        {
            "method": "PATCH",
            "path": f"/api/data/v9.2/phonecalls({guid})",
            "body": {"statecode": 1, "statuscode": 2},
        }
    ]
    assert shown["warnings"] == [
        {
            "code": "duration-rounded",
            "field": "actualdurationminutes",
            "detail": "Duration rounded to minutes",
        }
    ]


def test_generic_has_each_value_in_every_form() -> None:
    found = body(call(), Crm.GENERIC)
    assert found["start"] == {
        "utc": "2026-03-10T18:07:41.012Z",
        "local": "2026-03-10T11:07:41-07:00",
        "localDate": "2026-03-10",
        "unixMilliseconds": 1773166061012,
    }
    assert found["duration"] == {"milliseconds": 96000, "seconds": 96, "minutes": 2, "text": "01:36"}
    assert found["owner"] == {"email": ANA["email"], "name": "Ana Ruiz", "extensionId": "711000101"}


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"stage": "live"}, "not-over"),
        ({"stage": "absent", "absentReason": "test-call"}, "not-a-call"),
        ({"type": "fax", "outcome": "fax"}, "fax"),
        ({"internal": True}, "internal"),
        ({"conversation": {"id": "conv_1", "mainCallId": "call_2", "isMain": False}}, "not-main"),
        ({"externalNumber": None, "action": "Conference Call"}, "conference"),
        ({"externalNumber": None, "to": {"phoneNumber": "conference"}}, "conference"),
        ({"links": [{"crm": "hubspot", "objects": [{"type": "call", "id": "3901"}]}]}, "already-written"),
    ],
)
def test_some_calls_are_not_written(fields: dict[str, Any], code: str) -> None:
    shown = projected(call(**fields), Crm.HUBSPOT)
    assert not shown["safeToCreate"]
    assert [one["code"] for one in shown["reasons"]] == [code]


def test_a_link_to_another_crm_says_nothing() -> None:
    links = [{"crm": "hubspot", "objects": [{"type": "call", "id": "3901"}]}]
    assert projected(call(links=links), Crm.PIPEDRIVE)["safeToCreate"]
    assert projected(call(links=links), Crm.HUBSPOT)["objects"] == [{"type": "call", "id": "3901"}]


def test_an_unknown_outcome_is_not_guessed() -> None:
    shown = projected(call(outcome="unknown"), Crm.PIPEDRIVE)
    assert [one["field"] for one in shown["reasons"]] == ["outcome"]
    hubspot = projected(call(outcome="unknown"), Crm.HUBSPOT)
    assert hubspot["safeToCreate"]
    assert "hs_call_status" not in hubspot["request"]["body"]["properties"]
    assert {
        "code": "value-left-out",
        "field": "hs_call_status",
        "detail": "The CRM has no value for `unknown`",
    } in (hubspot["warnings"])


@pytest.mark.parametrize(
    ("fields", "context", "code", "field"),
    [
        ({"agent": ANA | {"email": None}}, {}, "owner-unknown", "Owner"),
        ({"externalNumber": None}, {}, "contact-unknown", "Who_Id"),
        ({"duration": None, "stage": "ended"}, {}, "duration-estimated", "Call_Duration"),
        ({}, {"zone_known": False}, "time-zone-unknown", "Call_Start_Time"),
        ({"notes": [note("word " * 500)]}, {}, "shortened", "Description"),
        ({"recordings": [{"contentUrl": "/v1/recordings/1/content"}]}, {}, "recording-left-out", None),
        ({"voicemail": {"transcript": None, "contentUrl": "/v1/x"}}, {}, "recording-left-out", None),
        ({"stage": "absent", "absentReason": "not-found"}, {}, "no-record", None),
        ({"stage": "reconciled"}, {}, "may-change", None),
    ],
)
def test_what_is_doubtful_is_said(
    fields: dict[str, Any], context: dict[str, Any], code: str, field: str | None
) -> None:
    shown = projected(call(**fields), Crm.ZOHO, **context)
    assert (code, field) in [(one["code"], one["field"]) for one in shown["warnings"]]
    assert shown["safeToCreate"]


@pytest.mark.parametrize(
    "change",
    [
        {"notes": [NOTE]},
        {"outcome": "voicemail"},
        {"duration": 97},
        {"agent": ANA | {"email": "ana@northwind-tea.example"}},
        {"externalNumber": "+15550179002"},
        {"startTime": "2026-03-10T18:07:42.012Z"},
        {"disposition": {"code": "callback", "label": "Call back"}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_visible_change_has_another_hash(change: dict[str, Any]) -> None:
    assert projected(call(**change), Crm.HUBSPOT)["hash"] != projected(call(), Crm.HUBSPOT)["hash"]


def test_the_hash_is_one_for_all_versions_of_the_crms_api() -> None:
    mapping = object_of(Crm.HUBSPOT)
    made = [project(call(), Crm.HUBSPOT, mapping, one, Context(LOS_ANGELES)) for one in mapping.paths]
    assert len({one["hash"] for one in made}) == 1
    assert len({one["request"]["path"] for one in made}) == len(mapping.paths) == 3
