from pathlib import Path

import pytest

import app
from app.sandbox.environment import Addresses, Credentials, service_environment
from app.settings import read_settings

CREDENTIALS = Credentials(
    secret_key="k" * 64,
    webhook_token="token-of-the-demo",
    api_key=f"ak_{'d' * 40}",
    client_id="client",
    client_secret="secret",
    jwt="jwt",
)
ADDRESSES = Addresses(
    service="http://127.0.0.1:8000", platform="http://127.0.0.1:8090", media="http://127.0.0.1:8091"
)


def environment(speed: float = 4.0, inherited: dict[str, str] | None = None) -> dict[str, str]:
    return service_environment(
        inherited or {}, speed, CREDENTIALS, ADDRESSES, database_url="sqlite:////tmp/scratch/demo.db"
    )


def test_the_speed_divides_every_duration_of_the_service() -> None:
    plain, fast = environment(1.0), environment(10.0)

    seconds = [name for name in plain if name.endswith("_SECONDS")]
    assert len(seconds) == 8
    for name in seconds:
        assert float(fast[name]) * 10 == float(plain[name])


def test_the_service_accepts_its_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment(7.0).items():
        monkeypatch.setenv(name, value)

    settings = read_settings()

    assert settings.webhook_address == "http://127.0.0.1:8000/webhooks/ringcentral"
    assert settings.has_credentials
    assert settings.rc_server_url == ADDRESSES.platform
    assert settings.rc_media_url == ADDRESSES.media
    assert settings.secrets() == ("k" * 64, "token-of-the-demo")


def test_real_credentials_and_proxies_do_not_reach_the_service() -> None:
    inherited = {
        "PATH": "/bin",
        "RC_JWT": "a real one",
        "RC_TIMEOUT": "1",
        "AFTERCALL_SUBSCRIPTION_FILTERS": "/elsewhere",
        "HTTPS_PROXY": "http://proxy.example.com",
        "http_proxy": "http://proxy.example.com",
    }

    made = environment(inherited=inherited)

    assert made["PATH"] == "/bin"
    assert made["RC_JWT"] == "jwt"
    assert not {"RC_TIMEOUT", "AFTERCALL_SUBSCRIPTION_FILTERS", "HTTPS_PROXY", "http_proxy"} & set(made)


def test_the_service_imports_what_runs_the_simulator() -> None:
    source = str(Path(app.__file__).parents[1])

    assert environment()["PYTHONPATH"] == source
    assert environment(inherited={"PYTHONPATH": "/theirs"})["PYTHONPATH"] == f"{source}:/theirs"
