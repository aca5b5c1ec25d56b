"""What Active Calls and the call log show of a record at a given time. No I/O, no clock.

Both views are pure functions of the planned call and the timing. So the simulator can say at any time when a
record becomes visible, without storing anything.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from app.simulator.scripting.model import IN_PROGRESS, CallSummary, Json, Leg, Record, Recording, Stage
from app.simulator.timing import Timing, between

SIMPLE = "Simple"
DETAILED = "Detailed"


@dataclass(frozen=True, slots=True)
class Links:
    """The addresses in responses: the two hosts and the account."""

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

    def message(self, extension_id: str, message_id: str) -> str:
        return f"{self.extension(extension_id)}/message-store/{message_id}"

    def content(self, recording_id: str) -> str:
        return f"{self.media}/restapi/v1.0/account/{self.account_id}/recording/{recording_id}/content"


@dataclass(frozen=True, slots=True)
class Revision:
    """The content of the call log from the time `at` on, which is also its `lastModifiedTime`."""

    at: datetime
    kind: str
    stage: Stage
    with_recording: bool = False
    with_message: bool = False
    corrected: bool = False


def iso(moment: datetime) -> str:
    """Format a time in UTC with milliseconds and Z."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def whole_second(moment: datetime) -> datetime:
    """Cut the fraction of a second, as in `startTime`."""
    return moment.replace(microsecond=0)


# Times


def shown_at(record: Record, timing: Timing) -> tuple[datetime, ...]:
    """Return when Active Calls starts to show each stage; a stage never appears before an earlier one."""
    moments: list[datetime] = []
    for stage, chance in zip(record.stages, record.draws.lags, strict=False):
        moment = record.after(stage.at, timing.lag(chance))
        # Each stage draws its own lag, so a later stage could otherwise come first.
        moments.append(max(moment, moments[-1]) if moments else moment)
    return tuple(moments)


def shown_until(record: Record, timing: Timing) -> datetime:
    """Return when the record leaves Active Calls: a fixed time after the end of the session."""
    return record.after(record.session.ended_at, timing.retention)


def logged_at(record: Record, timing: Timing) -> datetime:
    """Return when the call log first contains the final content."""
    draws = record.draws
    delay = between(timing.log_delay_min, timing.log_delay_max, draws.log_delay)
    if draws.straggler < timing.straggler_share:
        delay = between(timing.straggler_delay_min, timing.straggler_delay_max, draws.straggler_delay)
    return record.after(record.session.ended_at, delay)


def recording_ready_at(record: Record, timing: Timing) -> datetime | None:
    """Return when the record's recordings can be fetched, None without any."""
    if not record.recordings.kept:
        return None
    delay = between(timing.media_delay_min, timing.media_delay_max, record.draws.media_delay)
    return record.after(record.session.ended_at, delay)


def message_ready_at(record: Record, timing: Timing) -> datetime | None:
    """Return when the record's voicemail can be fetched, None without one."""
    if record.message_id is None:
        return None
    delay = between(timing.media_delay_min, timing.media_delay_max, record.draws.media_delay)
    return record.after(record.session.ended_at, delay)


# Active Calls


def active_stage(record: Record, now: datetime, timing: Timing) -> Stage | None:
    """Return the stage that Active Calls shows at this time, None before and after the record's window."""
    if now >= shown_until(record, timing):
        return None
    shown = None
    for stage, moment in zip(record.stages, shown_at(record, timing), strict=False):
        if moment <= now:
            shown = stage
    return shown


def show_stage(record: Record, stage: Stage, logged: Revision | None, links: Links, view: str) -> Json:
    """Return one stage of the record as Active Calls shows it. `logged` is its current call-log revision."""
    shown = _head(record, links, f"{links.extension(record.extension_id)}/call-log/{record.id}?view={view}")
    shown |= _show_summary(stage.summary)
    shown["extension"] = _extension(record.extension_id, links)
    # Active Calls names a recording no earlier than the call log does.
    is_attached = logged is not None and logged.with_recording
    if stage is record.final and is_attached and record.recordings.kept:
        shown["recording"] = _recording(record.recordings.kept[0], links)
    if view == DETAILED:
        shown["legs"] = [_leg(record, leg, links, {}) for leg in stage.legs]
    return shown


# Call log


def revisions(record: Record, timing: Timing) -> list[Revision]:
    """Return all revisions of the record in the call log, oldest first."""
    final_at = logged_at(record, timing)
    out: list[Revision] = []
    provisional = _provisional(record, timing)
    # A call can be so short that it is final before its provisional record would appear.
    if provisional is not None and provisional.at < final_at:
        out.append(provisional)
    additions = _additions(record, timing)
    # What is added before the final content appears with it, so each revision has its own time.
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
    """Return when the late parts of a record are added: recording, voicemail message, looked-up names."""
    draws, ended = record.draws, record.session.ended_at
    attach = between(timing.attach_delay_min, timing.attach_delay_max, draws.attach_delay)
    out: dict[str, datetime] = {}
    if record.recordings.kept:
        out["recording"] = record.after(ended, attach)
    if record.message_id is not None:
        out["message"] = record.after(ended, attach)
    if draws.correction < timing.correction_share and record.true_names:
        delay = between(timing.correction_delay_min, timing.correction_delay_max, draws.correction_delay)
        out["names"] = record.after(logged_at(record, timing), delay)
    return out


_PROVISIONAL = (IN_PROGRESS, "Stopped", "IP Phone Offline", "reversed", "looks final")
"""The results of provisional records, and two kinds of them that mislead a reader in other fields."""


def _provisional(record: Record, timing: Timing) -> Revision | None:
    """Return the revision during the call, for the share of records that have one."""
    if record.draws.provisional >= timing.provisional_share:
        return None
    at = record.after(record.started_at, timing.provisional_delay)
    kind = _PROVISIONAL[int(record.draws.provisional_kind * len(_PROVISIONAL))]
    summary = _provisional_summary(record, kind, at)
    return Revision(at, "provisional", Stage(at, summary, record.stages[0].legs))


def _provisional_summary(record: Record, kind: str, at: datetime) -> CallSummary:
    first, final = record.stages[0].summary, record.final.summary
    if kind == "reversed":
        turned = "Outbound" if final.direction == "Inbound" else "Inbound"
        return CallSummary(turned, "VoIP Call", IN_PROGRESS, final.receiver, final.sender)
    if kind == "looks final":
        so_far = max(1, round((at - record.started_at).total_seconds()))
        return CallSummary(final.direction, final.action, final.result, final.sender, final.receiver, so_far)
    result = IN_PROGRESS if kind == IN_PROGRESS else kind
    duration = None if kind == IN_PROGRESS else 0
    return CallSummary(first.direction, first.action, result, first.sender, first.receiver, duration)


def current_revision(all_revisions: Sequence[Revision], now: datetime) -> Revision | None:
    """Return the last of these revisions, given oldest first, that has appeared by now."""
    current = None
    for revision in all_revisions:
        if revision.at <= now:
            current = revision
    return current


def show_logged(record: Record, revision: Revision, links: Links, view: str, *, company_level: bool) -> Json:
    """Return one revision of the record as the call log shows it.

    At company level about half of the records have `extension` on their legs only.
    """
    base = links.account if company_level else links.extension(record.extension_id)
    shown = _head(record, links, f"{base}/call-log/{record.id}?view={view}")
    shown |= _show_summary(revision.stage.summary, record.true_names if revision.corrected else {})
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
    out = _recording_fields(record, revision, links)
    if revision.with_message:
        uri = links.message(record.extension_id, str(record.message_id))
        out["message"] = {"id": record.message_id, "type": "VoiceMail", "uri": uri}
    if record.transfer_target is not None:
        out["transferTarget"] = {"telephonySessionId": record.transfer_target}
    if record.transferee is not None:
        out["transferee"] = {"telephonySessionId": record.transferee}
    return out


# Parts of a record


def _head(record: Record, links: Links, uri: str) -> Json:
    return {
        "uri": uri,
        "id": record.id,
        "sessionId": record.session.session_id,
        "telephonySessionId": record.session.telephony_session_id,
        "startTime": iso(whole_second(record.started_at)),
        "type": "Voice",
    }


def _show_summary(summary: CallSummary, true_names: dict[str, str] | None = None) -> Json:
    shown: Json = {
        "direction": summary.direction,
        "action": summary.action,
        "result": summary.result,
        "to": _named(summary.receiver, true_names or {}),
        "from": _named(summary.sender, true_names or {}),
    }
    if summary.reason is not None:
        shown |= {"reason": summary.reason, "reasonDescription": f"The call ended with: {summary.reason}"}
    if summary.duration is not None:
        shown |= {"duration": summary.duration, "durationMs": summary.duration * 1000}
    return shown


def _named(side: Json, true_names: dict[str, str]) -> Json:
    name = true_names.get(side.get("phoneNumber", ""))
    return dict(side) if name is None else side | {"name": name}


def _extension(extension_id: str, links: Links) -> Json:
    """Return a reference to an extension; its id is a number, as in RingCentral's responses."""
    return {"uri": links.extension(extension_id), "id": int(extension_id)}


def _recording(recording: Recording, links: Links) -> Json:
    return {
        "uri": links.recording(recording.id),
        "id": recording.id,
        "type": recording.kind,
        "contentUri": links.content(recording.id),
    }


def _recording_fields(record: Record, revision: Revision, links: Links, place: int = 0) -> Json:
    """Return the recording fields of a record, or of its leg at this place.

    Record and legs name the same recording. If there are several, each leg names another one and the record
    the first.
    """
    out: Json = {}
    kept = record.recordings.kept
    if revision.with_recording and kept:
        out["recording"] = _recording(kept[min(place, len(kept) - 1)], links)
    if record.recordings.too_short:
        out["shortRecording"] = True
    return out


def _logged_legs(record: Record, revision: Revision, links: Links) -> list[Json]:
    names = record.true_names if revision.corrected else {}
    is_over = revision.kind != "provisional"
    return [
        _leg(record, leg, links, names)
        | (_recording_fields(record, revision, links, place) if is_over else {})
        for place, leg in enumerate(revision.stage.legs)
    ]


def _leg(record: Record, leg: Leg, links: Links, names: dict[str, str]) -> Json:
    shown: Json = {"startTime": iso(whole_second(leg.started_at)), "type": "Voice"} | _show_summary(
        leg.summary, names
    )
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
