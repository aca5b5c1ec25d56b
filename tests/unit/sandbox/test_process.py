import socket
from pathlib import Path
from typing import Any, cast

import pytest

from app.clock import SystemClock
from app.sandbox.process import ServiceProcess, choose_port


def test_a_given_port_in_use_is_refused() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()

        with pytest.raises(OSError, match="in use"):
            choose_port(other.getsockname()[1])


def test_a_free_port_is_found_by_default() -> None:
    port = choose_port(None)

    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))


def test_the_refusal_is_the_last_line_of_the_log(tmp_path: Path) -> None:
    log = tmp_path / "service.log"
    service = ServiceProcess(cast("Any", None), log, SystemClock())

    log.write_text(
        '{"event": "the database is away"}\naftercall: postgresql://db/x: nothing listens there.\n'
    )
    assert service.refusal() == "postgresql://db/x: nothing listens there."

    log.write_text("aftercall: a sentence\nTraceback (most recent call last):\nMemoryError\n")
    assert service.refusal() is None

    log.unlink()
    assert service.refusal() is None
