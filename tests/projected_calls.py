"""Calls as the API shows them, made up for projections: one that is plain, and generated ones."""

from copy import deepcopy
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

from app.calls.attachments.rules.notes import shown_texts
from app.calls.model import Outcome, Stage
from app.calls.schemas import CallOut
from app.projections.inputs import Context
from app.projections.mappings.catalogue import mappings
from app.projections.mappings.model import Crm, ObjectMapping
from app.projections.projecting import project
from app.values.times import time_text

CALL_ID = "call_01jp0v7s4v8x2m6c9q3t5r7w1e"
ANA = {
    "extensionId": "711000101",
    "extensionNumber": "101",
    "name": "Ana Ruiz",
    "email": "ana.ruiz@northwind-tea.example",
    "role": "answered",
    "answeredAt": "2026-03-10T18:07:44.300Z",
    "talkSeconds": 92.82,
}
BEN = ANA | {"extensionId": "711000102", "extensionNumber": "102", "name": "Ben Cho", "role": "rang"}
DANA = {"phoneNumber": "+15550179001", "name": "Dana Field"}
MAIN = {"phoneNumber": "+15550100101", "name": "Ana Ruiz", "extensionId": "711000101"}

OBJECTS = [(crm, one) for crm, mapping in mappings().items() for one in mapping.objects]
"""Every object of every CRM."""


def call(**fields: Any) -> dict[str, Any]:
    """A final inbound call of 96 s that Ana answered; each field can be overruled."""
    config: Any = CallOut.model_config
    example: dict[str, Any] = deepcopy(config["json_schema_extra"]["example"])
    plain = {"id": CALL_ID, "stage": "final", "agents": [ANA], "agent": ANA, "recordings": []}
    return example | plain | fields


FELT = {
    "label": "negative",
    "source": "acme-ai",
    "madeBy": "machine",
    "scope": {"type": "call"},
    "updatedAt": "2026-03-10T18:09:30.000Z",
}


def outbound(**fields: Any) -> dict[str, Any]:
    """The same in the other direction."""
    return call(**{"direction": "Outbound", "from": MAIN, "to": DANA} | fields)


def missed(**fields: Any) -> dict[str, Any]:
    """An inbound call that rang at Ben's for 21 s; nobody answered."""
    nobody = {"outcome": "missed", "agent": None, "agents": [BEN], "answerTime": None, "talkSeconds": 0}
    return call(**nobody | {"duration": 21} | fields)


def note(text: str, **fields: Any) -> dict[str, Any]:
    columns = {"text": text, "format": "plain"} | fields
    shown = shown_texts(columns | {"plain_text": None})
    return {"title": None, "author": None, "source": "hubspot"} | columns | shown


def object_of(crm: Crm, name: str | None = None) -> ObjectMapping:
    mapping = mappings()[crm]
    return next(one for one in mapping.objects if name in (None, one.object))


def projected(shown: Any, crm: Crm, name: str | None = None, **context: Any) -> dict[str, Any]:
    """The projection of a call, by default in UTC and with the newest version of the CRM's API."""
    mapping = object_of(crm, name)
    version = next(iter(mapping.paths), None)
    return project(shown, crm, mapping, version, Context(**{"zone": UTC} | context))


def fields_of(projection: dict[str, Any], mapping: ObjectMapping) -> dict[str, Any]:
    """The fields of a body by the names of the mapping."""
    body: Any = projection["request"]["body"]
    for part in mapping.within.split(".") if mapping.within else ():
        body = body[int(part)] if part.isdecimal() else body[part]
    found = {}
    for field in mapping.fields:
        value: Any = body
        for part in field.name.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        if value is not None:
            found[field.name] = value
    return found


# Generated calls

_AWKWARD = st.sampled_from(
    [
        "<b>bold</b>",
        "$1,000",
        "- bullet",
        "a & b",
        "</p><script>x()</script>",
        "&lt;",
        "😀" * 40,
        "\r\n\t",
        "'\"",
    ]
)
words = st.one_of(
    _AWKWARD,
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=60),
)
long_words = st.one_of(
    words, st.lists(words, max_size=12).map("\n".join), words.map(lambda word: (word or "x") * 1_500)
)
_numbers = st.sampled_from([None, "+15550179001", "+442079460000", "+15550188002"])
_sides = st.none() | st.fixed_dictionaries(
    {},
    optional={
        "phoneNumber": st.sampled_from(["+15550179001", "+15550100101", "anonymous", "conference", "*80"]),
        "extensionNumber": st.sampled_from(["101", "102"]),
        "name": words,
    },
)
_seconds = st.none() | st.floats(0, 100_000, allow_nan=False).map(lambda value: round(value, 3))
_instants = st.integers(1_600_000_000_000, 2_000_000_000_000).map(
    lambda milliseconds: datetime.fromtimestamp(milliseconds / 1000, UTC)
)
people = st.fixed_dictionaries(
    {
        "extensionId": st.sampled_from([None, "711000101", "711000104"]),
        "extensionNumber": st.sampled_from([None, "101", "104"]),
        "name": st.none() | words,
        "email": st.sampled_from([None, "ana.ruiz@northwind-tea.example"]),
        "role": st.sampled_from(
            ["answered", "placed", "rang", "transferredTo", "transferredFrom", "supervised"]
        ),
        "answeredAt": st.none(),
        "talkSeconds": _seconds,
    }
)
notes = st.builds(
    note,
    long_words,
    title=st.none() | words,
    format=st.sampled_from(["plain", "markdown", "html"]),
    author=st.none() | st.fixed_dictionaries({"name": words}),
)


@st.composite
def calls(draw: st.DrawFn) -> dict[str, Any]:
    """A call of any kind, in any stage, with anything in its texts."""
    start = draw(_instants)
    end = draw(st.none() | st.integers(-2, 20_000).map(lambda seconds: start + timedelta(seconds=seconds)))
    agents = draw(st.lists(people, max_size=3))
    main = draw(st.sampled_from([CALL_ID, "call_01jp0v8c1n5r9t3w7y2b4d6f8h"]))
    transcript = draw(st.none() | long_words)
    return call(
        **{
            "stage": draw(st.sampled_from([stage.value for stage in Stage])),
            "absentReason": draw(st.sampled_from([None, "not-found", "test-call"])),
            "direction": draw(st.sampled_from([None, "Inbound", "Outbound"])),
            "internal": draw(st.sampled_from([None, True, False])),
            "outcome": draw(st.sampled_from([outcome.value for outcome in Outcome])),
            "type": draw(st.sampled_from(["voice", "voice", "fax"])),
            "action": draw(st.sampled_from([None, "Phone Call", "Monitoring", "Conference Call"])),
            "from": draw(_sides),
            "to": draw(_sides),
            "externalNumber": draw(_numbers),
            "queueName": draw(st.none() | words),
            "agents": agents,
            "agent": draw(st.sampled_from([None, *agents])),
            "transferredTo": draw(_numbers),
            "startTime": time_text(start),
            "answerTime": None,
            "endTime": time_text(end),
            "duration": draw(st.none() | st.integers(0, 100_000)),
            "talkSeconds": draw(_seconds),
            "ringSeconds": draw(_seconds),
            "holdSeconds": draw(_seconds),
            "recordings": draw(st.sampled_from([[], [{"contentUrl": None}], [{"contentUrl": "/v1/x"}]])),
            "voicemail": draw(st.sampled_from([None, {"transcript": transcript, "contentUrl": None}])),
            "conversation": {"id": None, "mainCallId": main, "isMain": main == CALL_ID},
            "notes": draw(st.lists(notes, max_size=3)),
            "sentiments": draw(st.sampled_from([[], [FELT], [FELT, FELT | {"madeBy": "person"}]])),
            "disposition": draw(
                st.none() | st.fixed_dictionaries({"code": words, "label": st.none() | words})
            ),
            "links": draw(
                st.sampled_from([[], [{"crm": "hubspot", "objects": [{"type": "call", "id": "1"}]}]])
            ),
        }
    )


contexts = st.builds(
    Context,
    zone=st.sampled_from([UTC, *map(ZoneInfo, ["America/Los_Angeles", "Asia/Kolkata", "Pacific/Apia"])]),
    zone_known=st.booleans(),
    duration_of=st.sampled_from(["call", "talk"]),
    recording_url=st.sampled_from([None, "https://calls.northwind-tea.example/3019664700.mp3"]),
    app_id=st.sampled_from([None, "735264019863524"]),
)
