"""Why a call has no record, recording or insights; shown by the API."""

from enum import StrEnum


class MissingReason(StrEnum):
    """The service's own reasons. RingCentral's codes, such as `CMN-401`, stand beside them."""

    NEVER_LOGGED = "never-logged"
    NO_CREDENTIALS = "no-credentials"
    NO_PERMISSION = "no-permission"
    NO_SCOPE = "no-scope"
    NO_LICENCE = "no-licence"
    NOT_ANALYSED = "not-analysed"
    NOT_NAMED = "not-named"
    """Events announced the recording and no record names it."""

    GONE = "gone"
    HORIZON = "horizon"
    REFUSED = "refused"
    SWITCHED_OFF = "off"
    UNREACHABLE = "unreachable"
    UNSTORABLE = "unstorable"
