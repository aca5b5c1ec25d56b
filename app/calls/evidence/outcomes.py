"""Maps a call-log `result`, from RingCentral's open set of words, to our closed set of outcomes. No I/O.

Source of the words: RingCentral's API description, `CallLogRecord.result`. Spelling and case differ between
releases, and new words appear. Any other word is `unknown`; the API shows the raw word as well.
"""

from app.calls.model import Outcome

_WORDS: dict[Outcome, tuple[str, ...]] = {
    Outcome.IN_PROGRESS: ("In Progress",),
    Outcome.ANSWERED: (
        "Accepted",
        "Call connected",
        "Answered Elsewhere",
        "911",
        "933",
        "Phone Login",
    ),
    Outcome.MISSED: ("Missed", "Answered Not Accepted"),
    Outcome.VOICEMAIL: ("Voicemail", "Sent to Voicemail", "Reply"),
    # Who asks a queue to call back has hung up without an answer.
    Outcome.ABANDONED: ("Abandoned", "Callback requested"),
    Outcome.BUSY: ("Busy", "Line Busy"),
    Outcome.NO_ANSWER: ("No Answer", "Hang Up", "Not Answered"),
    Outcome.REJECTED: ("Rejected", "Declined"),
    Outcome.BLOCKED: (
        "Blocked",
        "International Disabled",
        "International Restricted",
        "No Calling Credit",
        "Not Allowed",
        "Restricted Number",
        "Suspended account",
    ),
    Outcome.FAILED: (
        "Call Failed",
        "Call Failure",
        "Carrier is not active",
        "EDGE trunk misconfigured",
        "IP Phone Offline",
        "Internal Error",
        "Stopped",
        "Wrong Number",
    ),
    Outcome.FAX: (
        "Fax Not Sent",
        "Fax Partially Sent",
        "Fax Poor Line",
        "Fax Receipt Error",
        "Fax on Demand",
        "Partial Receive",
        "Receive Error",
        "Received",
        "Send Error",
        "Sent",
    ),
}
_OUTCOMES = {word.casefold(): outcome for outcome, words in _WORDS.items() for word in words}
_CONNECTED = frozenset({"accepted", "call connected", "911", "933"})


def read_outcome(result: str | None) -> Outcome:
    """Return the outcome of a raw result."""
    if result is None:
        return Outcome.UNKNOWN
    return _OUTCOMES.get(result.strip().casefold(), Outcome.UNKNOWN)


def is_connected(result: str | None) -> bool:
    """Whether the parties of the record with this result were connected."""
    return result is not None and result.strip().casefold() in _CONNECTED
