import pytest

from app.demo.options import Addresses, Credentials, Options, name_database, service_environment
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


def environment(options: Options, inherited: dict[str, str] | None = None) -> dict[str, str]:
    return service_environment(
        inherited or {},
        options,
        CREDENTIALS,
        ADDRESSES,
        scratch_database="sqlite:////tmp/scratch/demo.db",
        import_path="/src",
    )


def test_the_speed_divides_every_duration_of_the_service() -> None:
    plain, fast = environment(Options(speed=1.0)), environment(Options(speed=10.0))

    seconds = [name for name in plain if name.endswith("_SECONDS")]
    assert len(seconds) == 8
    for name in seconds:
        assert float(fast[name]) * 10 == float(plain[name])


def test_the_service_accepts_its_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment(Options(speed=7.0)).items():
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

    made = environment(Options(), inherited)

    assert made["PATH"] == "/bin"
    assert made["RC_JWT"] == "jwt"
    assert not {"RC_TIMEOUT", "AFTERCALL_SUBSCRIPTION_FILTERS", "HTTPS_PROXY", "http_proxy"} & set(made)


def test_the_scratch_database_is_the_default() -> None:
    named = "postgresql://demo@127.0.0.1/demo"

    assert environment(Options())["AFTERCALL_DATABASE_URL"] == "sqlite:////tmp/scratch/demo.db"
    assert environment(Options(database_url=named))["AFTERCALL_DATABASE_URL"] == named


def test_an_inherited_import_path_comes_last() -> None:
    assert environment(Options(), {"PYTHONPATH": "/theirs"})["PYTHONPATH"] == "/src:/theirs"


def test_a_refusal_names_the_database_as_the_user_gave_it() -> None:
    refusal = "postgresql://db/x: no server. Check that AFTERCALL_DATABASE_URL is right."

    given = name_database(refusal, Options(database_url="postgresql://db/x"))
    assert given == "postgresql://db/x: no server. Check that --database-url is right."
    assert "AFTERCALL" not in name_database(refusal, Options())
