"""Why a call has no record, recording, voicemail or insights; shown by the API."""

from enum import StrEnum

from app.errors import AccessReason


class MissingReason(StrEnum):
    """The service's own reasons. RingCentral's codes, such as `CMN-401`, stand beside them."""

    NEVER_LOGGED = "never-logged"
    NO_CREDENTIALS = AccessReason.NO_CREDENTIALS.value
    NO_PERMISSION = AccessReason.NO_PERMISSION.value
    NO_SCOPE = "no-scope"
    NO_LICENCE = "no-licence"
    NOT_ANALYSED = "not-analysed"
    NOT_NAMED = "not-named"
    """Events announced the recording and no record names it."""

    GONE = "gone"
    HORIZON = "horizon"
    REFUSED = "refused"
    REMOVED = "removed"
    """Its archived audio was removed after its retention."""

    SWITCHED_OFF = "off"
    TRANSCRIPT_LATE = "transcript-late"
    """The voicemail can be played; its transcript was still in progress when it was requested last."""

    UNREACHABLE = "unreachable"
    UNSTORABLE = "unstorable"
