"""What active calls and the call log show of a record at a moment. No I/O, no clock: `now` is an argument.

Both views are pure functions of the plan and the timing, which is also how the simulator can tell at any time
when each record became visible: nothing is ever written.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from app.simulator.scripting.model import IN_PROGRESS, Face, Json, Leg, Record, Recording, Stage
from app.simulator.timing import Timing, between

SIMPLE = "Simple"
DETAILED = "Detailed"


@dataclass(frozen=True, slots=True)
class Links:
    """Where the answers' addresses point: the two hosts and the account."""

    platform: str
    media: str
    account_id: str

    @property
    def account(self) -> str:
        return f"{self.platform}/restapi/v1.0/account/{self.account_id}"

    def extension(self, extension_id: str) -> str:
        return f"{self.account}/extension/{extension_id}"

    def recording(self, recording_id: str) -> str:
        return f"{self.account}/recording/{recording_id}"

    def content(self, recording_id: str) -> str:
        return f"{self.media}/restapi/v1.0/account/{self.account_id}/recording/{recording_id}/content"


@dataclass(frozen=True, slots=True)
class Revision:
    """What the call log says from `at` on, which is also its `lastModifiedTime`."""

    at: datetime
    kind: str
    stage: Stage
    with_recording: bool = False
    with_message: bool = False
    corrected: bool = False


def iso(moment: datetime) -> str:
    """Write a moment with milliseconds and Z."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def whole_second(moment: datetime) -> datetime:
    """Cut the fraction, as `startTime` does."""
    return moment.replace(microsecond=0)


# When


def shown_at(record: Record, timing: Timing) -> tuple[datetime, ...]:
    """Return the moments at which active calls starts to show each stage, never before an earlier one."""
    moments: list[datetime] = []
    for stage, chance in zip(record.stages, record.draws.lags, strict=False):
        moment = record.after(stage.at, timing.lag(chance))
        moments.append(max(moment, moments[-1]) if moments else moment)
    return tuple(moments)


def shown_until(record: Record, timing: Timing) -> datetime:
    """Return when the record leaves active calls: a fixed time after the whole session's end."""
    return record.after(record.session.ended_at, timing.retention)


def logged_at(record: Record, timing: Timing) -> datetime:
    """Return when the call log first holds the final content."""
    draws = record.draws
    delay = between(timing.log_delay_min, timing.log_delay_max, draws.log_delay)
    if draws.straggler < timing.straggler_share:
        delay = between(timing.straggler_delay_min, timing.straggler_delay_max, draws.straggler_delay)
    return record.after(record.session.ended_at, delay)


def recording_ready_at(record: Record, timing: Timing) -> datetime | None:
    """Return when metadata and content of the record's recording can be fetched."""
    if not record.sound.kept:
        return None
    delay = between(timing.media_delay_min, timing.media_delay_max, record.draws.media_delay)
    return record.after(record.session.ended_at, delay)


# Active calls


def active_stage(record: Record, now: datetime, timing: Timing) -> Stage | None:
    """Return what active calls shows of the record now, or None when it is too early or too late."""
    if now >= shown_until(record, timing):
        return None
    shown = None
    for stage, moment in zip(record.stages, shown_at(record, timing), strict=False):
        if moment <= now:
            shown = stage
    return shown


def show_active(record: Record, now: datetime, timing: Timing, links: Links, view: str) -> Json | None:
    """Return the record as active calls gives it now, or None."""
    stage = active_stage(record, now, timing)
    if stage is None:
        return None
    return show_stage(record, stage, revision_at(record, now, timing), links, view)


def show_stage(record: Record, stage: Stage, logged: Revision | None, links: Links, view: str) -> Json:
    """Return one stage of the record as active calls gives it; `logged` is what the call log says meanwhile."""
    shown = _head(record, links, f"{links.extension(record.extension_id)}/call-log/{record.id}?view={view}")
    shown |= _face(stage.face)
    shown["extension"] = _extension(record.extension_id, links)
    is_attached = logged is not None and logged.with_recording
    if stage is record.final and is_attached and record.sound.kept:
        shown["recording"] = _recording(record.sound.kept[0], links)
    if view == DETAILED:
        shown["legs"] = [_leg(record, leg, links, {}) for leg in stage.legs]
    return shown


# Call log


def revisions(record: Record, timing: Timing) -> list[Revision]:
    """List everything the call log ever says of the record, oldest first."""
    final_at = logged_at(record, timing)
    out: list[Revision] = []
    provisional = _provisional(record, timing)
    if provisional is not None and provisional.at < final_at:
        out.append(provisional)
    additions = _additions(record, timing)
    moments = sorted({max(final_at, at) for at in additions.values()} | {final_at})
    out += [
        Revision(
            at=moment,
            kind="final" if moment == final_at else "amended",
            stage=record.final,
            with_recording=_has(additions, "recording", moment),
            with_message=_has(additions, "message", moment),
            corrected=_has(additions, "names", moment),
        )
        for moment in moments
    ]
    return out


def _has(additions: dict[str, datetime], what: str, moment: datetime) -> bool:
    return what in additions and additions[what] <= moment


def _additions(record: Record, timing: Timing) -> dict[str, datetime]:
    """Return when late parts of the record are added: recording, voicemail message, looked-up names."""
    draws, ended = record.draws, record.session.ended_at
    attach = between(timing.attach_delay_min, timing.attach_delay_max, draws.attach_delay)
    out: dict[str, datetime] = {}
    if record.sound.kept:
        out["recording"] = record.after(ended, attach)
    if record.message_id is not None:
        out["message"] = record.after(ended, attach)
    if draws.correction < timing.correction_share and record.true_names:
        delay = between(timing.correction_delay_min, timing.correction_delay_max, draws.correction_delay)
        out["names"] = record.after(logged_at(record, timing), delay)
    return out


_PROVISIONAL = (IN_PROGRESS, "Stopped", "IP Phone Offline", "reversed", "looks final")


def _provisional(record: Record, timing: Timing) -> Revision | None:
    """Return what the log says while the call goes on, for the share of records that appear so early."""
    if record.draws.provisional >= timing.provisional_share:
        return None
    at = record.after(record.started_at, timing.provisional_delay)
    kind = _PROVISIONAL[int(record.draws.provisional_kind * len(_PROVISIONAL))]
    face = _provisional_face(record, kind, at)
    return Revision(at, "provisional", Stage(at, face, record.stages[0].legs))


def _provisional_face(record: Record, kind: str, at: datetime) -> Face:
    first, final = record.stages[0].face, record.final.face
    if kind == "reversed":
        turned = "Outbound" if final.direction == "Inbound" else "Inbound"
        return Face(turned, "VoIP Call", IN_PROGRESS, final.receiver, final.sender)
    if kind == "looks final":
        so_far = max(1, round((at - record.started_at).total_seconds()))
        return Face(final.direction, final.action, final.result, final.sender, final.receiver, so_far)
    result = IN_PROGRESS if kind == IN_PROGRESS else kind
    duration = None if kind == IN_PROGRESS else 0
    return Face(first.direction, first.action, result, first.sender, first.receiver, duration)


def revision_at(record: Record, now: datetime, timing: Timing) -> Revision | None:
    """Return what the call log says now, or None while it knows nothing."""
    return current_revision(revisions(record, timing), now)


def current_revision(told: Sequence[Revision], now: datetime) -> Revision | None:
    """Choose from all revisions, oldest first, the one that stands now."""
    current = None
    for revision in told:
        if revision.at <= now:
            current = revision
    return current


def show_logged(record: Record, revision: Revision, links: Links, view: str, *, company_level: bool) -> Json:
    """Return one revision of the record as the call log gives it.

    At company level about half of the records lack `extension` at the top and have it on their legs only.
    """
    base = links.account if company_level else links.extension(record.extension_id)
    shown = _head(record, links, f"{base}/call-log/{record.id}?view={view}")
    shown |= _face(revision.stage.face, record.true_names if revision.corrected else {})
    if not company_level or record.draws.quirk < 0.5:
        shown["extension"] = _extension(record.extension_id, links)
    shown |= _late_parts(record, revision, links)
    if view == DETAILED:
        shown |= {
            "transport": revision.stage.legs[0].transport,
            "lastModifiedTime": iso(revision.at),
            "billing": {"costIncluded": 0.0, "costPurchased": 0.0},
            "internalType": _internal_type(revision.stage),
            "legs": _logged_legs(record, revision, links),
        }
    return shown


def _late_parts(record: Record, revision: Revision, links: Links) -> Json:
    if revision.kind == "provisional":
        return {}
    out = _heard(record, revision, links)
    if revision.with_message:
        uri = f"{links.extension(record.extension_id)}/message-store/{record.message_id}"
        out["message"] = {"id": record.message_id, "type": "VoiceMail", "uri": uri}
    if record.transfer_target is not None:
        out["transferTarget"] = {"telephonySessionId": record.transfer_target}
    if record.transferee is not None:
        out["transferee"] = {"telephonySessionId": record.transferee}
    return out


# Pieces


def _head(record: Record, links: Links, uri: str) -> Json:
    return {
        "uri": uri,
        "id": record.id,
        "sessionId": record.session.session_id,
        "telephonySessionId": record.session.telephony_session_id,
        "startTime": iso(whole_second(record.started_at)),
        "type": "Voice",
    }


def _face(face: Face, true_names: dict[str, str] | None = None) -> Json:
    shown: Json = {
        "direction": face.direction,
        "action": face.action,
        "result": face.result,
        "to": _named(face.receiver, true_names or {}),
        "from": _named(face.sender, true_names or {}),
    }
    if face.reason is not None:
        shown |= {"reason": face.reason, "reasonDescription": f"The call ended with: {face.reason}"}
    if face.duration is not None:
        shown |= {"duration": face.duration, "durationMs": face.duration * 1000}
    return shown


def _named(side: Json, true_names: dict[str, str]) -> Json:
    name = true_names.get(side.get("phoneNumber", ""))
    return dict(side) if name is None else side | {"name": name}


def _extension(extension_id: str, links: Links) -> Json:
    """The one place where an id is a number, as in RingCentral's answers."""
    return {"uri": links.extension(extension_id), "id": int(extension_id)}


def _recording(recording: Recording, links: Links) -> Json:
    return {
        "uri": links.recording(recording.id),
        "id": recording.id,
        "type": recording.kind,
        "contentUri": links.content(recording.id),
    }


def _heard(record: Record, revision: Revision, links: Links, place: int = 0) -> Json:
    """Return what a record, or its leg at this place, says of recordings.

    They repeat each other with the same id; of several recordings each leg names another, and the record the first.
    """
    out: Json = {}
    kept = record.sound.kept
    if revision.with_recording and kept:
        out["recording"] = _recording(kept[min(place, len(kept) - 1)], links)
    if record.sound.is_short:
        out["shortRecording"] = True
    return out


def _logged_legs(record: Record, revision: Revision, links: Links) -> list[Json]:
    names = record.true_names if revision.corrected else {}
    is_over = revision.kind != "provisional"
    return [
        _leg(record, leg, links, names) | (_heard(record, revision, links, place) if is_over else {})
        for place, leg in enumerate(revision.stage.legs)
    ]


def _leg(record: Record, leg: Leg, links: Links, names: dict[str, str]) -> Json:
    shown: Json = {"startTime": iso(whole_second(leg.started_at)), "type": "Voice"} | _face(leg.face, names)
    shown |= {
        "telephonySessionId": record.session.telephony_session_id,
        "transport": leg.transport,
        "legType": leg.leg_type,
        "master": leg.master,
    }
    if leg.extension_id is not None:
        shown["extension"] = _extension(leg.extension_id, links)
    return shown


def _internal_type(stage: Stage) -> str:
    return "Local" if stage.legs[0].transport == "PSTN" else "Sip"


def cut_fraction(moment: datetime) -> datetime:
    """Bring a filter's bound to seconds precision: fractions are cut."""
    return moment.astimezone(UTC).replace(microsecond=0)


def day_before(moment: datetime) -> datetime:
    """Return the default begin of a list's window, which does not scale with speed."""
    return moment - timedelta(hours=24)
