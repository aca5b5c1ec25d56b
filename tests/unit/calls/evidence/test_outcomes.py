import pytest

from app.calls.evidence.outcomes import is_connected, read_outcome
from app.calls.model import Outcome


@pytest.mark.parametrize(
    ("result", "outcome"),
    [
        ("Accepted", Outcome.ANSWERED),
        ("Call connected", Outcome.ANSWERED),
        ("Missed", Outcome.MISSED),
        ("Voicemail", Outcome.VOICEMAIL),
        ("VoiceMail", Outcome.VOICEMAIL),
        ("Abandoned", Outcome.ABANDONED),
        ("No Answer", Outcome.NO_ANSWER),
        ("Hang Up", Outcome.NO_ANSWER),
        ("line Busy", Outcome.BUSY),
        ("Busy", Outcome.BUSY),
        ("Rejected", Outcome.REJECTED),
        ("Declined", Outcome.REJECTED),
        ("Blocked", Outcome.BLOCKED),
        ("Call Failed", Outcome.FAILED),
        ("Fax Not Sent", Outcome.FAX),
        ("In Progress", Outcome.IN_PROGRESS),
        ("A word of next year", Outcome.UNKNOWN),
        (None, Outcome.UNKNOWN),
    ],
)
def test_a_result_is_read_as_an_outcome(result: str | None, outcome: Outcome) -> None:
    assert read_outcome(result) is outcome


def test_only_talking_is_connected() -> None:
    assert is_connected("accepted")
    assert is_connected("Call connected")
    assert not is_connected("Answered Elsewhere")
    assert not is_connected(None)
