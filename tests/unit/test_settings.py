import pytest

from app.errors import SettingsError
from app.settings import read_settings


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in [name for name in os.environ if name.startswith(("AFTERCALL_", "RC_"))]:
        monkeypatch.delenv(name)


def test_the_environment_is_read_with_fractions_and_ringcentrals_own_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AFTERCALL_ACTIVE_CALLS_WINDOW_SECONDS", "12")
    monkeypatch.setenv("AFTERCALL_ACTIVE_CALLS_LAG_MIN_SECONDS", "0.3")
    monkeypatch.setenv("AFTERCALL_ACTIVE_CALLS_LAG_MAX_SECONDS", "1")
    monkeypatch.setenv("RC_SERVER_URL", "http://127.0.0.1:9/")
    monkeypatch.setenv("RC_CLIENT_ID", "id")
    settings = read_settings()
    assert settings.active_calls_lag_min_seconds == 0.3
    assert (settings.rc_server_url, settings.rc_client_id) == ("http://127.0.0.1:9", "id")


def test_unset_durations_follow_the_window() -> None:
    settings = read_settings(
        active_calls_window_seconds=12.0, active_calls_lag_min_seconds=0.3, active_calls_lag_max_seconds=1.0
    )
    assert (settings.handover_seconds, settings.first_reading_seconds, settings.reading_gap_seconds) == (
        3.0,
        6.0,
        3.0,
    )
    assert read_settings(call_end_handover_seconds=7.0).handover_seconds == 7.0


@pytest.mark.parametrize(
    ("given", "driver"),
    [
        ("sqlite:///a.db", "sqlite+aiosqlite"),
        ("postgres://u:p@h/d", "postgresql+asyncpg"),
        ("postgresql://u:p@h/d", "postgresql+asyncpg"),
    ],
)
def test_a_database_url_needs_no_driver(given: str, driver: str) -> None:
    assert read_settings(database_url=given).database_url.startswith(f"{driver}://")


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"database_url": "mysql://x"}, "AFTERCALL_DATABASE_URL"),
        ({"rate_limit_heavy": "many"}, "AFTERCALL_RATE_LIMIT_HEAVY"),
        ({"active_calls_lag_min_seconds": 11.0}, "AFTERCALL_ACTIVE_CALLS_LAG_MIN_SECONDS"),
        ({"active_calls_lag_max_seconds": 500.0}, "AFTERCALL_ACTIVE_CALLS_WINDOW_SECONDS"),
        ({"lease_seconds": 5.0}, "AFTERCALL_LEASE_SECONDS"),
        ({"public_url": "ftp://x"}, "AFTERCALL_PUBLIC_URL"),
        ({"home_country": "Germany"}, "AFTERCALL_HOME_COUNTRY"),
        ({"home_country": "XX"}, "AFTERCALL_HOME_COUNTRY"),
        ({"home_country": "\u0130"}, "AFTERCALL_HOME_COUNTRY"),
    ],
)
def test_invalid_settings_are_rejected_by_name(values: dict[str, object], named: str) -> None:
    with pytest.raises(SettingsError, match=named):
        read_settings(**values)


@pytest.mark.parametrize(
    ("given", "country"), [("de", "DE"), (" US ", "US"), ("", None), ("  ", None), (None, None)]
)
def test_the_home_country_is_a_code_in_any_case(given: str | None, country: str | None) -> None:
    assert read_settings(home_country=given).home_country == country


LONG, TOKEN = "a" * 32, "t" * 16


def test_without_secrets_the_service_says_what_to_set_and_how_to_make_it() -> None:
    with pytest.raises(
        SettingsError, match=r"AFTERCALL_SECRET_KEY must.*AFTERCALL_WEBHOOK_TOKEN must.*openssl"
    ):
        read_settings().secrets()
    assert read_settings(secret_key=LONG, webhook_token=TOKEN).secrets() == (LONG, TOKEN)


@pytest.mark.parametrize(
    ("short", "named"),
    [
        ({"secret_key": LONG[:-1]}, "AFTERCALL_SECRET_KEY needs 32 characters or more, it has 31"),
        ({"secret_key": f"short,{LONG}"}, "AFTERCALL_SECRET_KEY needs 32 characters or more, it has 5"),
        ({"webhook_token": TOKEN[:-1]}, "AFTERCALL_WEBHOOK_TOKEN needs 16 characters or more, it has 15"),
        ({"api_key": "ak_guess-me"}, "AFTERCALL_API_KEY needs 32 characters or more, it has 11"),
    ],
)
def test_a_guessable_secret_is_rejected_and_not_shown(short: dict[str, str], named: str) -> None:
    settings = read_settings(**{"secret_key": LONG, "webhook_token": TOKEN, **short})
    with pytest.raises(SettingsError, match=named) as refused:
        settings.secrets()
    assert "guess-me" not in str(refused.value)


def test_a_short_secret_key_is_allowed_after_its_replacement() -> None:
    settings = read_settings(secret_key=f"{LONG},short", webhook_token=TOKEN)
    assert settings.secrets()[0] == f"{LONG},short"


def test_secrets_are_not_in_the_repr() -> None:
    settings = read_settings(secret_key="a" * 32, webhook_token="hidden-one", rc_jwt="hidden-two")
    assert "hidden" not in repr(settings)


def test_a_loopback_address_is_local() -> None:
    assert read_settings().is_local
    assert read_settings(public_url="http://127.0.0.1:8000").is_local
    assert not read_settings(public_url="https://calls.example.com").is_local


@pytest.mark.parametrize("name", ["DELIVERY_RETENTION_DAYS", "IDEMPOTENCY_RETENTION_HOURS"])
def test_a_former_name_is_refused_with_the_new_one(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(f"AFTERCALL_{name}", "7")
    with pytest.raises(SettingsError, match=f"AFTERCALL_{name} is now AFTERCALL_RETENTION_"):
        read_settings()
