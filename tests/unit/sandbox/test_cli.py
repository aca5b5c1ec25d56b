import pytest
import typer
from typer.testing import CliRunner

from app.sandbox import cli
from app.simulator import DEFAULT_MIX, SimulatorSettings
from app.simulator.command_options import read_mix
from app.simulator.scripting.catalogue import SCRIPTS

app = typer.Typer()
app.command()(cli.simulate)


def started(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> SimulatorSettings:
    runs: list[SimulatorSettings] = []
    monkeypatch.setattr(cli, "run", runs.append)
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == 0, result.output
    return runs[0]


def test_without_options_all_settings_have_their_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    assert started(monkeypatch) == SimulatorSettings()


def test_options_become_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = started(
        monkeypatch,
        *("--port", "0", "--speed", "10", "--calls-per-minute", "6", "--calls", "20", "--duration", "3"),
        *("--mix", "voicemail=2", "--mix", "internal", "--webhook-url", "http://127.0.0.1:9/hook"),
    )

    assert (settings.port, settings.speed, settings.calls_per_minute, settings.calls) == (0, 10.0, 6.0, 20)
    assert settings.mix == {"voicemail": 2.0, "internal": 1.0}
    assert (settings.duration_seconds, settings.webhook_url) == (3.0, "http://127.0.0.1:9/hook")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--mix", "nonsense"), "nonsense"),
        (("--mix", "voicemail=much"), "voicemail=much"),
        (("--mix", "voicemail=0"), "above zero"),
        (("--speed", "0"), "speed"),
        (("--calls", "10"), "--calls-per-minute 6"),
    ],
)
def test_invalid_options_are_refused_with_a_message(arguments: tuple[str, ...], said: str) -> None:
    result = CliRunner().invoke(app, list(arguments))

    assert result.exit_code == 2
    assert said in result.output


def test_a_port_in_use_is_reported_without_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: SimulatorSettings) -> None:
        raise OSError(98, "Address already in use")

    monkeypatch.setattr(cli, "run", refuse)

    result = CliRunner().invoke(app, ["--port", "8090"])

    assert result.exit_code == 2
    assert "8090" in result.output
    assert "Address already in use" in result.output


def test_scripts_are_listed_with_their_descriptions() -> None:
    result = CliRunner().invoke(app, ["--scripts"])

    assert result.exit_code == 0
    assert [line.split()[0] for line in result.output.splitlines()] == list(SCRIPTS)


def test_without_a_mix_the_day_is_an_ordinary_one() -> None:
    assert read_mix(None) == dict(DEFAULT_MIX)
