"""Requests to RingCentral in the log: few lines for an outage or for many 429s."""

from structlog.testing import capture_logs

from app import metrics
from app.ringcentral.journal import Journal
from app.ringcentral.wire import HEAVY, Request, Response
from tests.fakes.clock import FakeClock

REQUEST = Request(method="GET", url="/restapi/v1.0/account/1/call-log", route="/call-log", group=HEAVY)


def answer(status: int, clock: FakeClock) -> Response:
    return Response.of(status, [], b"", sent_at=clock.now())


def test_an_outage_of_ringcentral_is_one_line_at_its_beginning_and_one_at_its_end() -> None:
    clock = FakeClock()
    journal = Journal(clock)
    with capture_logs() as lines:
        for number in range(100):
            if number % 2:
                journal.unanswered(REQUEST, 0.1, "no answer: ConnectError")
            else:
                journal.answered(REQUEST, 0.1, answer(503, clock))
            clock.advance(2)
        clock.advance(60)
        journal.answered(REQUEST, 0.1, answer(200, clock))
    told = [line for line in lines if line["log_level"] != "debug"]
    assert [line["event"] for line in told] == [
        "RingCentral does not answer",
        "RingCentral does not answer: over",
    ]
    assert told[1]["tries"] == 100


def test_many_429s_are_one_line_a_minute_with_their_number() -> None:
    clock = FakeClock()
    journal = Journal(clock)
    with capture_logs() as lines:
        for _ in range(121):
            journal.answered(REQUEST, 0.1, answer(429, clock))
            clock.advance(1)
    assert [(line["status"], line["count"]) for line in lines] == [(429, 1), (429, 60), (429, 60)]


def test_the_time_of_every_request_is_measured() -> None:
    def observed() -> float:
        samples = next(iter(metrics.RC_SECONDS.collect())).samples
        return sum(
            one.value for one in samples if one.name.endswith("_count") and one.labels["group"] == HEAVY
        )

    clock = FakeClock()
    before = observed()
    Journal(clock).answered(REQUEST, 0.1, answer(200, clock))
    Journal(clock).unanswered(REQUEST, 0.1, "no answer")
    assert observed() == before + 2
