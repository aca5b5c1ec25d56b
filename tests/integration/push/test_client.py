"""One message over HTTP: only to checked addresses, within the time, whatever the other side does."""

import asyncio
import datetime
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from app.push.sending.address_rules import AddressRules
from app.push.sending.client import WebhookClient
from app.push.sending.retry_plan import Answer
from tests.fakes.clock import FakeClock
from tests.fakes.receiver import Answer as Said
from tests.fakes.receiver import Received, Receiver
from tests.integration.push.conftest import LOOPBACK

NAME = "hook.crm.example"
HEADERS = {"webhook-id": "1-0a"}


@pytest.fixture
async def client(clock: FakeClock) -> AsyncIterator[WebhookClient]:
    async with WebhookClient(LOOPBACK, clock) as made:
        yield made


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """What names resolve to."""
    known: dict[str, list[str]] = {}
    real = socket.getaddrinfo

    def resolve(host: Any, port: Any, *args: Any, **more: Any) -> Any:
        if host not in known:
            return real(host, port, *args, **more)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port)) for one in known[host]]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return known


async def test_a_name_that_leads_inside_is_refused_at_each_connection(
    clock: FakeClock, names: dict[str, list[str]]
) -> None:
    async with Receiver() as receiver, WebhookClient(AddressRules(allows_http=True), clock) as strict:
        names[NAME] = ["127.0.0.1", "10.0.0.1", "169.254.169.254"]
        answer = await strict.post(f"http://{NAME}:{receiver.port}/", HEADERS, b"{}")
    assert answer == Answer(error="address-refused")
    assert receiver.connections == 0


async def test_the_connection_goes_to_the_address_that_was_checked(
    client: WebhookClient, names: dict[str, list[str]]
) -> None:
    async with Receiver() as receiver:
        names[NAME] = ["10.0.0.1", "127.0.0.1"]
        answer = await client.post(f"http://{NAME}:{receiver.port}/hook?a=1", HEADERS, b"{}")
    assert answer.status == 204
    (got,) = receiver.received
    assert (got.path, got.headers["host"]) == ("/hook?a=1", f"{NAME}:{receiver.port}")


async def test_redirects_are_answers_and_not_followed(client: WebhookClient) -> None:
    async with Receiver() as inside:

        async def redirect(_: Received) -> Said:
            return 307, {"location": inside.url}

        async with Receiver(redirect) as receiver:
            answer = await client.post(receiver.url, HEADERS, b"{}")
    assert (answer.status, answer.is_success) == (307, False)
    assert inside.connections == 0


@pytest.mark.parametrize(
    ("said", "seconds"),
    [("120", 120.0), ("Tue, 10 Mar 2026 18:08:41 GMT", 60.0), ("soon", None), ("-5", None), ("9" * 40, None)],
)
async def test_retry_after_is_read_in_both_forms(
    client: WebhookClient, said: str, seconds: float | None
) -> None:
    async def busy(_: Received) -> Said:
        return 503, {"retry-after": said}

    async with Receiver(busy) as receiver:
        assert await client.post(receiver.url, HEADERS, b"{}") == Answer(503, seconds)


async def test_no_answer_is_a_timeout_and_a_closed_connection_an_error(
    client: WebhookClient, clock: FakeClock
) -> None:
    async def hang(_: Received) -> int:
        await asyncio.Event().wait()
        return 200

    async def hang_up(_: Received) -> int:
        return 0

    async with WebhookClient(LOOPBACK, clock, timeout_seconds=0.05) as hasty, Receiver(hang) as silent:
        assert await hasty.post(silent.url, HEADERS, b"{}") == Answer(error="timeout")
    async with Receiver(hang_up) as rude:
        assert await client.post(rude.url, HEADERS, b"{}") == Answer(error="connection")
    assert await client.post(rude.url, HEADERS, b"{}") == Answer(error="connection")
    unknown = await client.post("http://nowhere.invalid/", HEADERS, b"{}")
    assert unknown.error in {"name-unknown", "timeout"}
    assert await client.post("ftp://crm.example/", HEADERS, b"{}") == Answer(error="address-refused")


async def test_a_connection_is_used_again(client: WebhookClient) -> None:
    async with Receiver() as receiver:
        for _ in range(3):
            await client.post(receiver.url, HEADERS, b"{}")
        assert receiver.connections == 1


@asynccontextmanager
async def tls_server(folder: Path, name: str) -> AsyncIterator[tuple[int, Path, list[str | None]]]:
    """A server with a certificate for this name, signed by itself: its port, the certificate, and the names
    that clients asked for."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = folder / "cert.pem"
    pem.write_bytes(
        built.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    asked: list[str | None] = []

    def note_name(_: ssl.SSLObject, server_name: str | None, __: ssl.SSLContext) -> None:
        asked.append(server_name)

    context.sni_callback = note_name

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 204 OK\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1], pem, asked


@pytest.mark.parametrize(
    ("certified", "answer"), [(NAME, Answer(204)), ("other.example", Answer(error="tls"))]
)
async def test_the_certificate_is_checked_for_the_name_although_the_address_is_pinned(
    client: WebhookClient,
    names: dict[str, list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    certified: str,
    answer: Answer,
) -> None:
    names[NAME] = ["127.0.0.1"]
    async with tls_server(tmp_path, certified) as (port, pem, asked):
        monkeypatch.setenv("SSL_CERT_FILE", str(pem))
        assert await client.post(f"https://{NAME}:{port}/", HEADERS, b"{}") == answer
    assert asked == [NAME]
