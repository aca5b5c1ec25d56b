"""Distinguishing why RingCentral did not respond."""

import socket
import ssl
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from app.errors import RequestRefused, RingCentralUnreachable
from app.ops.problems.reachability import describe_failing
from app.ringcentral.reachability import ReachMeter, Unreached, cause_of, code_of

NOW = datetime(2026, 3, 10, 18, 10, tzinfo=UTC)


def caused(error: Exception, cause: BaseException) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (caused(httpx.ConnectError("x"), OSError("y")), Unreached.CONNECTION),
        (caused(httpx.ConnectError("x"), socket.gaierror(-2, "unknown")), Unreached.NAME),
        (caused(httpx.ConnectError("x"), ExceptionGroup("y", [socket.gaierror(-2, "z")])), Unreached.NAME),
        (caused(httpx.ConnectError("x"), ssl.SSLCertVerificationError("bad")), Unreached.TLS),
        (httpx.ConnectTimeout("x"), Unreached.TIMEOUT),
        (httpx.ReadTimeout("x"), Unreached.TIMEOUT),
        (httpx.ReadError("x"), Unreached.NETWORK),
        (httpx.RemoteProtocolError("x"), Unreached.NETWORK),
    ],
)
def test_the_cause_is_found_in_the_exception_chain(error: Exception, cause: Unreached) -> None:
    assert cause_of(error) is cause


async def test_an_unresolvable_name_is_recognised_with_a_real_client() -> None:
    async with httpx.AsyncClient() as http:
        with pytest.raises(httpx.ConnectError) as caught:
            await http.get("http://nowhere.invalid/")
    assert cause_of(caught.value) is Unreached.NAME


async def test_a_refused_connection_is_recognised_with_a_real_client() -> None:
    with socket.socket() as taken:  # bound and not listening: nobody answers there
        taken.bind(("127.0.0.1", 0))
        async with httpx.AsyncClient() as http:
            with pytest.raises(httpx.ConnectError) as caught:
                await http.get(f"http://127.0.0.1:{taken.getsockname()[1]}/")
    assert cause_of(caught.value) is Unreached.CONNECTION


def test_a_few_failures_in_a_row_are_a_problem_and_one_answer_ends_it() -> None:
    meter = ReachMeter()
    for number in range(3):
        assert describe_failing(meter.failing, "https://rc.example", "here") is None
        meter.failed(Unreached.NAME, "no answer: x", NOW + timedelta(seconds=number))
    told = describe_failing(meter.failing, "https://rc.example", "here")
    assert told is not None
    assert (told.code, told.since) == ("unreachable-name", NOW)
    assert "rc.example" in told.detail
    meter.answered(403, NOW)
    assert meter.failing is None


def test_server_errors_count_as_failures() -> None:
    meter = ReachMeter()
    for status in (503, 502, 408):
        meter.answered(status, NOW)
    assert meter.failing is not None
    assert (meter.failing.code, meter.failing.failures) == (Unreached.SERVER, 3)
    meter.answered(501, NOW)
    assert meter.failing is None


def test_an_error_has_the_code_of_its_cause() -> None:
    assert code_of(RingCentralUnreachable("x", status=503, code="CMN-201")) == Unreached.SERVER
    assert code_of(RingCentralUnreachable("x", code=Unreached.TLS)) == Unreached.TLS
    assert code_of(RequestRefused("x", status=400, code="SUB-521")) == "SUB-521"
