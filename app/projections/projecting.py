"""Makes a projection: a call, through the mapping of an object of a CRM. Pure."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from app.calls.model import Stage
from app.projections.inputs import Context, Inputs, WarningCode, derive_inputs
from app.projections.mappings.model import INPUT_TYPES, Crm, FieldMapping, InputKind, ObjectMapping, Scalar
from app.projections.rendering.formats import DURATIONS, TIMES, ZONED
from app.projections.rendering.notes import has_words
from app.projections.rendering.texts import Markup, one_line, render, shorten
from app.projections.standing import ReasonCode, linked_objects, objections

Json = Mapping[str, Any]


@dataclass(slots=True)
class _Findings:
    """What was found on the way. `missing` has the required fields without a value."""

    warnings: list[dict[str, Any]] = field(default_factory=list)
    missing: list[FieldMapping] = field(default_factory=list)

    def warn(self, code: WarningCode, detail: str, field_name: str | None = None) -> None:
        """Add a warning, once: several fields can be filled from the same doubtful input."""
        if not any((one["code"], one["detail"]) == (code.value, detail) for one in self.warnings):
            self.warnings.append({"code": code.value, "field": field_name, "detail": detail})


def project(
    call: Json, crm: Crm, mapping: ObjectMapping, version: str | None, context: Context
) -> dict[str, Any]:
    """Return what `ProjectionOut` describes, of a call as the API shows it.

    Equal calls give equal projections. `hash` covers what the CRM would show, so it does not change with the
    version of the call, with times of reading or with what has been linked.
    """
    inputs = derive_inputs(call, context)
    found, linked_crm = _Findings(), context.linked_crm or crm.value
    fields = _fill(mapping.fields, inputs, context, found)
    lookups = [_look_up(lookup.field, lookup.what, lookup.by, inputs, found) for lookup in mapping.lookups]
    _warn_of_the_rest(call, mapping, context, found)
    follow_ups = [
        {
            "method": one.method,
            "path": one.path.format(**_texts(inputs)),
            "body": _fill(one.fields, inputs, context, found),
        }
        for one in mapping.follow_ups
    ]
    reasons = [
        {"code": code.value, "field": None, "detail": why} for code, why in objections(call, linked_crm)
    ]
    reasons += [_missing(one, inputs) for one in found.missing]
    external_id = {
        "field": mapping.external_id.field,
        "value": inputs.values[mapping.external_id.input],
        "remark": mapping.external_id.remark,
    }
    body = _within(mapping.within, fields)
    path = mapping.path_of(version)
    return {
        "crm": crm.value,
        "object": mapping.object,
        "apiVersion": version,
        "callId": call["id"],
        "callVersion": call["version"],
        "mayChange": call["stage"] not in (Stage.FINAL, Stage.ABSENT),
        "safeToCreate": not reasons,
        "reasons": reasons,
        "warnings": found.warnings,
        "externalId": external_id,
        "hash": _hash([crm.value, mapping.object, body, lookups, follow_ups, external_id["value"]]),
        "request": {
            "method": mapping.method,
            "path": None if path is None else path.format(**_texts(inputs)),
            "body": body,
        },
        "followUps": follow_ups,
        "lookups": lookups,
        "objects": linked_objects(call, linked_crm),
        "sources": list(mapping.sources),
    }


def _texts(inputs: Inputs) -> dict[str, str]:
    """Return the inputs that a path may contain."""
    return {name: inputs.values[name] for name in ("callId", "guid")}


def _fill(
    fields: Iterable[FieldMapping], inputs: Inputs, context: Context, found: _Findings
) -> dict[str, Any]:
    """Return the fields that have a value. A field is never null: it is left out."""
    filled: dict[str, Any] = {}
    for one in fields:
        if any(inputs.values[key] in values for key, values in one.not_for.items()):
            continue
        value = one.constant if one.input is None else _value(one, one.input, inputs, context, found)
        if value is None or value == "":
            if one.required:
                found.missing.append(one)
            continue
        _put(filled, one.name.split("."), str(value) if one.as_text else value)
    return filled


def _value(one: FieldMapping, key: str, inputs: Inputs, context: Context, found: _Findings) -> Scalar | None:
    raw = inputs.values[key]
    if raw is None:
        return None
    doubt = inputs.doubts.get(key)
    if doubt is not None:
        found.warn(*doubt, field_name=one.name)
    match INPUT_TYPES[key].kind:
        case InputKind.CHOICE:
            return _choose(one, raw, found)
        case InputKind.TIME:
            if one.format in ZONED and not context.zone_known:
                detail = "The owner's time zone is unknown: the time is in UTC"
                found.warn(WarningCode.TIME_ZONE_UNKNOWN, detail, one.name)
            return TIMES[one.format](raw, context.zone)
        case InputKind.SECONDS:
            if one.format == "minutes" and raw % 60:
                found.warn(WarningCode.DURATION_ROUNDED, "Duration rounded to minutes", one.name)
            return DURATIONS[one.format](raw)
        case InputKind.NOTES:
            markup: Markup = "html" if one.format == "html" else "plain"
            return _kept(one, *render(raw, markup, one.limit), found)
        case InputKind.TEXT:
            line = one_line(raw)
            short = shorten(line, one.limit)
            return int(line) if one.format == "integer" else _kept(one, short, short != line, found)
        case InputKind.FLAG:
            return bool(raw)


def _choose(one: FieldMapping, word: str, found: _Findings) -> Scalar | None:
    if one.values is not None and word in one.values:
        return one.values[word]
    if not one.required:
        found.warn(WarningCode.VALUE_LEFT_OUT, f"The CRM has no value for `{word}`", one.name)
    return None


def _kept(one: FieldMapping, kept: str, is_cut: bool, found: _Findings) -> str:
    if is_cut:
        detail = f"Shortened to {one.limit:,} characters, the most that the field takes"
        found.warn(WarningCode.SHORTENED, detail, one.name)
    return kept


def _put(filled: dict[str, Any], path: list[str], value: Any) -> None:
    *above, name = path
    for part in above:
        filled = filled.setdefault(part, {})
    filled[name] = value


def _within(place: str, fields: dict[str, Any]) -> dict[str, Any]:
    """Return the body that has the fields at a place: `properties`, `data.0`, or at the top."""
    body: Any = fields
    for part in reversed(place.split(".") if place else []):
        body = [body] if part.isdecimal() else {part: body}
    filled: dict[str, Any] = body
    return filled


def _look_up(name: str, what: str, key: str, inputs: Inputs, found: _Findings) -> dict[str, Any]:
    doubt = inputs.doubts.get(key)
    if doubt is not None:
        found.warn(*doubt, field_name=name)
    by = {"ownerEmail": "email", "externalNumber": "phoneNumber"}[key]
    return {"field": name, "what": what, "by": by, "value": inputs.values[key]}


def _missing(one: FieldMapping, inputs: Inputs) -> dict[str, Any]:
    why = "it is unknown"
    if one.input == "appId":
        why = "send the parameter `appId`"
    elif one.input is not None and INPUT_TYPES[one.input].kind is InputKind.CHOICE:
        word = inputs.values[one.input]
        why = f"the CRM has no value for `{word}`" if word else why
    detail = f"The CRM requires {one.name}: {why}"
    return {"code": ReasonCode.FIELD_MISSING.value, "field": one.name, "detail": detail}


def _warn_of_the_rest(call: Json, mapping: ObjectMapping, context: Context, found: _Findings) -> None:
    """Warn of what no field says."""
    if has_words(call) and not mapping.has_input("notes"):
        detail = "The object has no field for text: notes and transcripts are left out"
        found.warn(WarningCode.NOTES_LEFT_OUT, detail)
    audio = [*call["recordings"], *([call["voicemail"]] if call["voicemail"] else [])]
    if context.recording_url is None and any(one["contentUrl"] for one in audio):
        detail = "The call has a recording or a voicemail: make a listening link, or send `recordingUrl`"
        found.warn(WarningCode.RECORDING_LEFT_OUT, detail)
    if call["stage"] == Stage.ABSENT:
        detail = f"RingCentral has no record of this call ({call['absentReason']}): events alone tell of it"
        found.warn(WarningCode.NO_RECORD, detail)
    elif call["stage"] != Stage.FINAL:
        detail = f"The call is {call['stage']}: compare `hash` when it is final"
        found.warn(WarningCode.MAY_CHANGE, detail)


def _hash(shown: Any) -> str:
    text = json.dumps(shown, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
