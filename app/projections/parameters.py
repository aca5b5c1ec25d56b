"""The query parameters of a projection, and which object and version they choose."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel

from app.calls.attachments.fields import SourceName
from app.errors import BadInput
from app.projections.inputs import DurationOf
from app.projections.mappings.model import CrmMapping, ObjectMapping
from app.projections.time_zones import find_zone


def _check_zone(name: str) -> str:
    if find_zone(name) is None:
        raise ValueError("Must be the IANA name of a time zone, such as America/Los_Angeles")
    return name


def _check_address(address: str) -> str:
    if not address.isprintable() or any(character.isspace() or character in "<>\"'" for character in address):
        raise ValueError("Must be an address that starts with https://, with special characters encoded")
    return address


_Word = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,40}$")]


class ProjectionQuery(BaseModel):
    """What a connector can choose, or knows better."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True)

    object: _Word | None = Field(
        None,
        description="The kind of object, where the CRM has several: Salesforce `task` (default) or "
        "`voiceCall`.",
        examples=["voiceCall"],
    )
    api_version: _Word | None = Field(
        None,
        description="The version of the CRM's API, where its paths have one: HubSpot `2026-09` (default), "
        "`2026-03` or `v3`.",
        examples=["2026-09"],
    )
    owner_time_zone: (
        Annotated[str, StringConstraints(min_length=1, max_length=64), AfterValidator(_check_zone)] | None
    ) = Field(
        None,
        description="The IANA name of the time zone for local times. Default: that of the call's owner, or "
        "of the account, from the directory.",
        examples=["America/Los_Angeles"],
    )
    duration_of: DurationOf = Field(
        "call",
        description="`call`: RingCentral's duration of the whole call. `talk`: the time that people talked. "
        "Both are 0 for a call that nobody answered.",
    )
    recording_url: (
        Annotated[
            str,
            StringConstraints(max_length=2_048, pattern=r"^https://[!-~]+$"),
            AfterValidator(_check_address),
        ]
        | None
    ) = Field(
        None,
        description="An address of the recording, or of the voicemail, that the CRM can open. It is written "
        "into the object. Default: that of an open listening link, if one was made.",
        examples=["https://calls.northwind-tea.example/recordings/3019664700.mp3"],
    )
    app_id: Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]{0,17}$")] | None = Field(
        None,
        description="The id of your app in the CRM. Zendesk requires it; HubSpot needs it for recordings.",
        examples=["735264019863524"],
    )
    linked_crm: SourceName | None = Field(
        None,
        description="The name under which you link calls (`PUT /v1/calls/{call}/links/{crm}`): a call with "
        "such a link is `already-written`. Default: the name of the projection.",
        examples=["practice"],
    )


def choose_object(mapping: CrmMapping, query: ProjectionQuery) -> tuple[ObjectMapping, str | None]:
    """Return the object and the version of the CRM's API. Raises BadInput if the CRM does not have them."""
    by_name = {one.object: one for one in mapping.objects}
    if query.object is not None and query.object not in by_name:
        raise _no_such(mapping, "object", query.object, list(by_name))
    chosen = mapping.objects[0] if query.object is None else by_name[query.object]
    versions = list(chosen.paths)
    if query.api_version is not None and query.api_version not in versions:
        raise _no_such(mapping, "apiVersion", query.api_version, versions)
    return chosen, query.api_version or next(iter(versions), None)


def _no_such(mapping: CrmMapping, parameter: str, given: str, known: list[str]) -> BadInput:
    hint = f"it has {', '.join(known)}" if known else "leave the parameter out"
    what = f"{parameter} {given}"
    return BadInput(f"The projection for {mapping.crm} has no {what}: {hint}", parameter=parameter)
