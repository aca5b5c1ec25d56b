import asyncio
import socket
from pathlib import Path

from app.sandbox import companion
from app.sandbox.companion import CompanionOptions
from app.simulator import SimulatorSettings
from tests.cluster import free_port


def refused(settings: SimulatorSettings, options: CompanionOptions) -> str:
    said: list[str] = []
    assert asyncio.run(companion.run(settings, options, said.append)) == 1
    return "\n".join(said)


def test_a_port_in_use_is_reported_with_what_uses_it(tmp_path: Path) -> None:
    folder = tmp_path / "sandbox"
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]

        said = refused(SimulatorSettings(), CompanionOptions(service_port=port, folder=folder))
        assert f"Port {port} cannot be used for the service" in said
        assert "--service-port" in said

        options = CompanionOptions(service_port=free_port(), folder=folder)
        assert f"ports {port} and 0" in refused(SimulatorSettings(port=port, media_port=0), options)
    assert not folder.exists()


def test_a_folder_with_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "calls.jsonl").write_text("milk\nbread\n")

    options = CompanionOptions(service_port=free_port(), folder=tmp_path)
    said = refused(SimulatorSettings(port=0, media_port=0), options)

    assert "calls.jsonl, line 1: not a call of a simulator" in said
