"""The mapping files say what the CRMs' own pages say, and a file that makes no sense is refused."""

from typing import Any

import pytest
from pydantic import ValidationError

from app.projections.mappings.catalogue import mappings
from app.projections.mappings.model import INPUT_TYPES, Crm, CrmMapping, FieldMapping, ObjectMapping
from tests.projected_calls import OBJECTS, object_of

# The words of each choice as the pages in `sources` list them.
HUBSPOT_STATUS = {
    *("BUSY", "CALLING_CRM_USER", "CANCELED", "COMPLETED", "CONNECTING", "FAILED", "IN_PROGRESS"),
    *("NO_ANSWER", "QUEUED", "RINGING"),
}
HUBSPOT_OUTCOMES = {
    "9d9162e7-6cf3-4944-bf63-4dff82258764",  # Busy
    "f240bbac-87c9-4f6e-bf70-924b57d47db7",  # Connected
    "a4c4c377-d246-4b32-a13b-75a56a4cd0ff",  # Left live message
    "b2cf5968-551e-4856-9783-52b3da59a7d0",  # Left voicemail
    "73a0d17f-1163-4015-bdd5-ec830791da20",  # No answer
    "17b47fee-58de-441e-a44c-c6300d46f273",  # Wrong number
}
DOCUMENTED: dict[tuple[Crm, str, str], set[Any]] = {
    (Crm.HUBSPOT, "call", "hs_call_direction"): {"INBOUND", "OUTBOUND"},
    (Crm.HUBSPOT, "call", "hs_call_status"): HUBSPOT_STATUS,
    (Crm.HUBSPOT, "call", "hs_call_disposition"): HUBSPOT_OUTCOMES,
    (Crm.SALESFORCE, "task", "CallType"): {"Inbound", "Internal", "Outbound"},
    (Crm.PIPEDRIVE, "callLog", "outcome"): {
        *("connected", "no_answer", "left_message", "left_voicemail", "wrong_number", "busy"),
    },
    (Crm.ZOHO, "call", "Call_Type"): {"Inbound", "Outbound", "Missed"},
    (Crm.ZENDESK, "call", "direction"): {"inbound", "outbound"},
    (Crm.ZENDESK, "call", "completion_status"): {
        *(
            "completed",
            "abandoned_in_queue",
            "abandoned_in_ivr",
            "abandoned_in_voicemail",
            "abandoned_on_hold",
        ),
    },
    (Crm.DYNAMICS, "phonecall", "directioncode"): {False, True},
}
REQUIRED: dict[tuple[Crm, str], set[str]] = {
    (Crm.HUBSPOT, "call"): {"hs_timestamp"},
    (Crm.SALESFORCE, "task"): {"Status", "Priority"},
    (Crm.SALESFORCE, "voiceCall"): {"startTime", "endTime"},
    (Crm.PIPEDRIVE, "callLog"): {"outcome", "to_phone_number", "start_time", "end_time"},
    (Crm.ZOHO, "call"): {"Call_Type", "Call_Start_Time", "Call_Duration"},
    (Crm.ZENDESK, "call"): {"app_id", "from_line", "to_line", "call_started_at", "direction"},
    (Crm.DYNAMICS, "phonecall"): {"subject"},
}
LIMITS = {
    (Crm.HUBSPOT, "call", "hs_call_body"): 65_536,
    (Crm.SALESFORCE, "task", "Description"): 32_000,
    (Crm.SALESFORCE, "task", "CallDisposition"): 255,
    (Crm.SALESFORCE, "task", "CallObject"): 255,
    (Crm.DYNAMICS, "phonecall", "subject"): 200,
    (Crm.DYNAMICS, "phonecall", "description"): 2_000,
    (Crm.DYNAMICS, "phonecall", "phonenumber"): 200,
}


def field_of(mapping: ObjectMapping, name: str) -> FieldMapping:
    return next(field for field in mapping.fields if field.name == name)


def test_every_crm_has_a_file() -> None:
    assert {crm: mapping.crm for crm, mapping in mappings().items()} == {crm: crm for crm in Crm}


@pytest.mark.parametrize(("place", "words"), DOCUMENTED.items())
def test_a_choice_has_only_words_that_the_crm_knows(place: tuple[Crm, str, str], words: set[Any]) -> None:
    crm, name, field = place
    values = field_of(object_of(crm, name), field).values
    assert values is not None
    assert set(values.values()) <= words


def test_every_choice_of_a_crm_is_compared_with_its_page() -> None:
    choices = {
        (crm, mapping.object, field.name)
        for crm, mapping in OBJECTS
        for field in mapping.fields
        if field.format == "choice" and crm is not Crm.GENERIC
    }
    assert choices == set(DOCUMENTED)


@pytest.mark.parametrize(("place", "names"), REQUIRED.items())
def test_what_a_crm_requires_is_required(place: tuple[Crm, str], names: set[str]) -> None:
    required = {field.name for field in object_of(*place).fields if field.required}
    assert names <= required


@pytest.mark.parametrize(("place", "limit"), LIMITS.items())
def test_a_published_limit_is_kept(place: tuple[Crm, str, str], limit: int) -> None:
    crm, name, field = place
    found = field_of(object_of(crm, name), field)
    assert (found.limit, found.limit_is_ours) == (limit, False)


def test_every_published_limit_is_compared_with_its_page() -> None:
    published = {
        (crm, mapping.object, field.name)
        for crm, mapping in OBJECTS
        for field in mapping.fields
        if field.limit is not None and not field.limit_is_ours
    }
    assert published == set(LIMITS)


@pytest.mark.parametrize(("crm", "mapping"), OBJECTS, ids=[f"{crm}-{one.object}" for crm, one in OBJECTS])
def test_an_object_names_its_sources_and_has_each_field_once(crm: Crm, mapping: ObjectMapping) -> None:
    names = [field.name for field in mapping.fields]
    assert len(set(names)) == len(names)
    assert bool(mapping.sources) == (crm is not Crm.GENERIC)
    assert all(source.startswith("https://") for source in mapping.sources)
    assert bool(mapping.path) != bool(mapping.paths) or crm is Crm.GENERIC
    assert mapping.external_id.input in INPUT_TYPES
    assert all(lookup.by in INPUT_TYPES for lookup in mapping.lookups)


@pytest.mark.parametrize(
    ("field", "complaint"),
    [
        ({"input": "callId", "constant": "x"}, "give an input or a constant"),
        ({}, "give an input or a constant"),
        ({"input": "colour"}, "There is no input colour"),
        ({"input": "startTime"}, "text does not fit startTime"),
        ({"input": "direction", "format": "choice", "values": {"Inbound": "in"}}, "Outbound"),
        ({"input": "callId", "not_for": {"direction": ["Missed"]}}, "cannot be one of"),
        ({"input": "callId", "lenght": 3}, "Extra inputs"),
    ],
)
def test_a_file_that_makes_no_sense_is_refused(field: dict[str, Any], complaint: str) -> None:
    whole = {
        "crm": "hubspot",
        "name": "HubSpot",
        "objects": [
            {
                "object": "call",
                "title": "call",
                "sources": [],
                "external_id": {"input": "callId", "remark": ""},
                "fields": [{"name": "field", **field}],
            }
        ],
    }
    with pytest.raises(ValidationError, match=complaint):
        CrmMapping.model_validate(whole)
