"""The address of the database, in every form in which hosting providers give it."""

from pathlib import Path
from typing import Any

import pytest
from asyncpg import connect_utils
from hypothesis import given
from hypothesis import strategies as st

from app.db.connecting import connect_options
from app.db.engine import Database
from app.errors import SettingsError
from app.settings import read_settings
from app.values.database_url import PostgresAddress, SqliteAddress, read_database_url

LINUX = "/var/run/postgresql"


def like(url: str, **values: object) -> tuple[str, PostgresAddress]:
    fields = {"hosts": ("db.example",), "ports": (None,), "user": "u", "password": "p", "database": "calls"}
    return url, PostgresAddress(**(fields | values))  # type: ignore[arg-type]


FORMS = [
    like("postgres://u:p@db.example/calls"),
    like("POSTGRES://u:p@db.example/calls"),
    like(" postgresql://u:p@db.example/calls\n"),
    like("postgresql+asyncpg://u:p@db.example/calls"),
    like("postgresql+psycopg2://u:p@db.example/calls"),
    like("postgresql+psycopg://u:p@db.example/calls"),
    like("postgres+asyncpg://u:p@db.example/calls"),
    like("postgresql://u:p@db.example:6543/calls", ports=(6543,)),
    *(
        like(f"postgresql://u:p@db.example/calls?sslmode={mode}", sslmode=mode)
        for mode in ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
    ),
    like("postgresql://u:p@db.example/calls?ssl=true", sslmode="require"),
    like("postgresql://u:p@db.example/calls?ssl=1", sslmode="require"),
    like("postgresql://u:p@db.example/calls?ssl=false", sslmode="disable"),
    like("postgresql://u:p@db.example/calls?ssl=verify-full", sslmode="verify-full"),
    like("postgresql://u:p@db.example/calls?sslmode=no-verify", sslmode="require"),
    like(
        "postgresql://u:p@db.example/calls?sslmode=verify-full&sslrootcert=/etc/ssl/ca%20of%20us.pem",
        sslmode="verify-full",
        tls={"sslrootcert": "/etc/ssl/ca of us.pem"},
    ),
    like(
        "postgresql://u:p@db.example/calls?application_name=my%20app",
        server_settings={"application_name": "my app"},
    ),
    like("postgresql://u:p@db.example/calls?application_name=&ssl="),
    like("postgresql://u:p@db.example/calls?connect_timeout=10", connect_timeout=10.0),
    like("postgresql://u:p@db.example/calls?connect_timeout=0"),
    like(
        "postgresql://u:p@db.example/calls?options=-csearch_path%3Dcalls%20-c%20statement_timeout%3D5s",
        server_settings={"options": "-csearch_path=calls -c statement_timeout=5s"},
    ),
    like(
        "postgresql://u:p@db.example/calls?options=endpoint%3Dep-cool",
        server_settings={"options": "endpoint=ep-cool"},
    ),
    like("postgresql://u:p@db.example/calls?target_session_attrs=read-write",
    target_session_attrs="read-write"),
    like(
        "postgresql://u:p@host1:5432,host2:5433/calls?target_session_attrs=any",
        hosts=("host1", "host2"),
        ports=(5432, 5433),
        target_session_attrs="any",
    ),
    like("postgresql://u:p@host1,host2:5433/calls", hosts=("host1", "host2"), ports=(None, 5433)),
    like("postgresql://u:p@/calls?host=host1,host2&port=5432,5433", hosts=("host1", "host2"), ports=(5432,
    5433)),
    like("postgresql://u:p@/calls?host=host1,host2&port=5432", hosts=("host1", "host2"), ports=(5432, 5432)),
    like("postgresql://u:p@/calls?host=host1:5432&host=host2:5433", hosts=("host1", "host2"), ports=(5432,
    5433)),
    like("postgresql://u:p@/calls?host=/var/run/postgresql", hosts=(LINUX,)),
    like("postgresql://u:p@/calls?host=%2Fvar%2Frun%2Fpostgresql&port=5433", hosts=(LINUX,), ports=(5433,)),
    like("postgresql://u:p@%2Fvar%2Frun%2Fpostgresql/calls", hosts=(LINUX,)),
    like("postgresql:///calls?host=/var/run/postgresql&user=u&password=p", hosts=(LINUX,)),
    like("postgresql://u:p@[::1]:5433/calls", hosts=("::1",), ports=(5433,)),
    like("postgresql://u:p@[2001:db8::1]/calls", hosts=("2001:db8::1",)),
    like("postgresql://u:p@[::1]:1,[::2]:2/calls", hosts=("::1", "::2"), ports=(1, 2)),
    like("postgresql://u%40corp:p%40%2F%3F%23%25%3A%20@db.example/calls", user="u@corp", password="p@/?#%: "),
    like("postgresql://u:p@ss@db.example/calls", password="p@ss"),
    like("postgresql://u:p/w?x#y@db.example/calls", password="p/w?x#y"),
    like("postgresql://u:12/34@db.example/calls", password="12/34"),
    like("postgresql://u:a:b:c@db.example/calls", password="a:b:c"),
    like("postgresql://u@db.example/calls", password=None),
    like("postgresql://db.example/calls", user=None, password=None),
    like("postgresql://db.example:5432/calls?application_name=a@b", user=None, password=None, ports=(5432,),
         server_settings={"application_name": "a@b"}),
    like("postgresql://u:p@db.example", database=None),
    like("postgresql://u:p@db.example/", database=None),
    like("postgresql://u:p@db.example?sslmode=require", database=None, sslmode="require"),
    like("postgresql://u:p@db.example/calls%2F2026", database="calls/2026"),
    like("postgresql://", hosts=(), ports=(), user=None, password=None, database=None),
    like("host=db.example dbname=calls user=u password=p"),
    like("host = db.example  dbname='calls' user=u password='p' "),
    like("dbname=calls host=db.example user=u password='it\\'s a \\\\ secret' port=5433",
         password="it's a \\ secret", ports=(5433,)),
    like("host=db.example dbname=calls user=u password=p\\ q=r", password="p q=r"),
    like("host=db.example dbname=calls user=u password=ab://cd", password="ab://cd"),
    like("host=/var/run/postgresql dbname=calls user=u password=''", hosts=(LINUX,), password=None),
    like("host=h1,h2 port=1,2 dbname=calls user=u password=p "
         "sslmode=require", hosts=("h1", "h2"), ports=(1, 2),
         sslmode="require"),
    like("postgresql://u:p@db.example/calls?pgbouncer=true", pooled=True),
    like("postgresql://u:p@db.example/calls?pgbouncer=false", pooled=False),
    like("postgresql://u:p@db.example/calls?prepared_statement_cache_size=0", pooled=True),
    like("postgresql://u:p@db.example/calls?sslmode=require&channel_binding=require", sslmode="require",
         unused={"channel_binding": "require"}),
    like("postgresql://u:p@db.example/calls?keepalives=1&keepalives_idle=30",
         unused={"keepalives": "1", "keepalives_idle": "30"}),
]  # fmt: skip


@pytest.mark.parametrize(("url", "address"), FORMS, ids=[url.strip() or "empty" for url, _ in FORMS])
def test_an_address_is_read_in_every_form(url: str, address: PostgresAddress) -> None:
    read = read_database_url(url)
    assert read == address
    assert read_database_url(read.url) == address
    settings = read_settings(database_url=url)
    database = Database(settings.database_url) if not address.tls else None
    if database is not None:
        shown = database.url.render_as_string(hide_password=False)
        assert read_database_url(shown) == address


SQLITE = [
    ("sqlite:///relative.db", "relative.db", True),
    ("sqlite+aiosqlite:///relative.db", "relative.db", True),
    ("sqlite:////var/lib/aftercall/a.db", "/var/lib/aftercall/a.db", True),
    ("sqlite:///C:/data/a.db", "C:/data/a.db", True),
    ("sqlite:///C:\\data\\a.db", "C:\\data\\a.db", True),
    ("sqlite:///with a space.db", "with a space.db", True),
    ("sqlite:///with%20a%20space.db", "with a space.db", True),
    ("sqlite:///a.db?mode=rw", "a.db", False),
    ("sqlite:///a.db?mode=rwc", "a.db", True),
    ("sqlite:///file:a.db?mode=rw&uri=true", "a.db", False),
]


@pytest.mark.parametrize(("url", "path", "creates"), SQLITE)
def test_a_file_is_named_in_every_form(url: str, path: str, creates: bool) -> None:
    read = read_database_url(url)
    assert read == SqliteAddress(path, creates)
    assert read_database_url(read.url) == read
    assert Database(read_settings(database_url=url).database_url).url.database == path


REFUSED = [
    ("postgresql://u:hidden@h/d?sslmod=require", "sslmod is not known; did you mean sslmode"),
    ("postgresql://u:hidden@h/d?schema=public", "schema is not known"),
    ("postgresql://u:hidden@h/d?sslmode=sometimes", "sslmode must be one of"),
    ("postgresql://u:hidden@h/d?ssl=perhaps", "ssl must be one of"),
    ("postgresql://u:hidden@h/d?connect_timeout=soon", "connect_timeout must be"),
    ("postgresql://u:hidden@h/d?target_session_attrs=standby", "target_session_attrs cannot be standby"),
    ("postgresql://u:hidden@h/d?target_session_attrs=x", "target_session_attrs must be one of"),
    ("postgresql://u:hidden@h/d?client_encoding=latin1", "client_encoding must be utf8"),
    ("postgresql://u:hidden@h/d?gssencmode=require", "gssencmode must be"),
    ("postgresql://u:hidden@h/d?require_auth=scram-sha-256", "require_auth is not known"),
    ("postgresql://u:hidden@h/d?pgbouncer=maybe", "pgbouncer must be true or false"),
    ("postgresql://u:hidden@h/d?statement_cache_size=100", "statement_cache_size can only be 0"),
    ("postgresql://u:hidden@h/d?sslmode=require&sslmode=disable", "sslmode is given twice"),
    ("postgresql://u:hidden@h:0/d", "port must be a number"),
    ("postgresql://u:hidden@h:99999/d", "port must be a number"),
    ("postgresql://u:hidden@h:port/d", "cannot be parsed"),
    ("postgresql://u:hidden@[::1/d", "cannot be parsed"),
    ("postgresql://u:hidden@h1,,h2/d", "host has an empty name"),
    ("postgresql://u:hidden@/d?host=a,b,c&port=1,2", "port names 2 ports for 3 hosts"),
    ("host=h dbname=d user=u password=my hidden secret", "what follows password is not of the form"),
    ("host=h password='hidden", "password has a quote that does not end"),
    ("host=h sslmod=x password=hidden", "sslmod is not known"),
    ("jdbc:postgresql://h/d?password=hidden", "must begin with"),
    ("mysql://u:hidden@h/d", "must begin with"),
    ("hidden", "must begin with"),
    ("'postgresql://u:hidden@h/d'", "quotes"),
    ("postgresql://u:hid\nden@h/d", "control character"),
    ("sqlite://", "in memory"),
    ("sqlite:///", "in memory"),
    ("sqlite:///:memory:", "in memory"),
    ("sqlite:///file:a?mode=memory&uri=true", "in memory"),
    ("sqlite:///a.db?mode=ro", "mode must be rw or rwc"),
    ("sqlite:///a.db?cache=shared", "cache must be private"),
    ("sqlite:///a.db?vfs=unix", "vfs is not known"),
    ("sqlite://a.db", "three slashes"),
]


@pytest.mark.parametrize(("url", "sentence"), REFUSED, ids=[url or "empty" for url, _ in REFUSED])
def test_invalid_addresses_are_rejected_without_revealing_the_password(url: str, sentence: str) -> None:
    with pytest.raises(SettingsError) as refused:
        read_settings(database_url=url)
    said = str(refused.value)
    assert "AFTERCALL_DATABASE_URL" in said
    assert sentence in said
    assert "hidden" not in said
    assert "secret" not in said


@given(
    st.text(max_size=60),
    st.sampled_from(("", "postgresql://", "postgresql://u:p@h/d?", "sqlite:///", "host=")),
)
def test_any_text_is_read_or_rejected(text: str, prefix: str) -> None:
    try:
        address = read_database_url(prefix + text)
    except ValueError:
        return
    assert read_database_url(address.url) == address


@given(
    st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1, max_size=20),
    st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1, max_size=20),
)
def test_a_password_is_preserved_and_never_shown(user: str, password: str) -> None:
    address = PostgresAddress(("h",), (None,), user, password, "d", tls={"sslpassword": password})
    assert read_database_url(address.url) == address
    hidden = PostgresAddress(("h",), (None,), user, "***", "d", tls={"sslpassword": "***"})
    assert address.shown == hidden.shown
    assert f"password={password!r}" not in repr(address)


def test_settings_do_not_show_the_address() -> None:
    settings = read_settings(
        database_url="postgresql://u:hidden@h/d", database_direct_url="host=h password=hidden"
    )
    assert "hidden" not in repr(settings)


def parsed(url: str) -> tuple[Any, Any]:
    """How the driver parses an address: where to connect, and how."""
    address = read_database_url(url)
    assert isinstance(address, PostgresAddress)
    options = connect_options(address)
    names = (
        "dsn", "host", "port", "user", "password", "passfile", "database", "ssl", "service", "servicefile",
        "direct_tls", "server_settings", "target_session_attrs", "krbsrvname", "gsslib",
    )  # fmt: skip
    given = {name: options.get(name) for name in names}
    addresses, parameters = connect_utils._parse_connect_dsn_and_args(**given)
    return addresses, parameters


def test_the_driver_reads_libpqs_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("PGHOST", "PGPORT", "PGUSER", "PGPASSWORD", "PGPASSFILE", "PGDATABASE", "PGSSLMODE"):
        monkeypatch.delenv(name, raising=False)
    passfile = tmp_path / "pgpass"
    passfile.touch(mode=0o600)
    passfile.write_text("db.example:5433:calls:u:from-file\n")
    monkeypatch.setenv("PGPASSFILE", str(passfile))
    monkeypatch.setenv("PGSSLMODE", "disable")
    monkeypatch.setenv("PGPORT", "5433")
    addresses, parameters = parsed("postgresql://u@db.example/calls")
    assert addresses == [("db.example", 5433)]
    assert parameters.password == "from-file"
    assert parameters.ssl is False
    monkeypatch.setenv("PGPASSWORD", "from-environment")
    assert parsed("postgresql://u@db.example/calls")[1].password == "from-environment"
    assert parsed("postgresql://u:given@db.example/calls")[1].password == "given"
    assert parsed("postgresql://u:p@db.example/calls?sslmode=require")[1].ssl is not False


def test_the_driver_reaches_sockets_and_writes_to_one_of_several_hosts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("PGTARGETSESSIONATTRS", raising=False)
    addresses, _ = parsed("postgresql:///calls?host=/var/run/postgresql&port=5433")
    assert addresses == ["/var/run/postgresql/.s.PGSQL.5433"]
    address = read_database_url("postgresql://u:p@h1:1,h2:2/calls")
    assert isinstance(address, PostgresAddress)
    first, second = connect_options(address, 0), connect_options(address, 1)
    assert (first["host"], first["port"], second["host"], second["port"]) == ("h1", 1, "h2", 2)
    assert first["target_session_attrs"] == "read-write"
    assert first["server_settings"]["application_name"] == "aftercall"


def test_a_file_that_cannot_be_read_is_named_at_start() -> None:
    with pytest.raises(SettingsError, match=r"sslrootcert, /no/such\.pem, cannot be read"):
        Database("postgresql://u:p@h/d?sslmode=verify-full&sslrootcert=/no/such.pem")


def test_a_direct_address_leads_to_postgresql_past_the_pooler() -> None:
    for url, direct in (
        ("sqlite:///a.db", "postgresql://h/d"),
        ("postgresql://h/d", "sqlite:///a.db"),
        ("postgresql://h/d", "postgresql://h/d?pgbouncer=true"),
    ):
        with pytest.raises(SettingsError, match="AFTERCALL_DATABASE_DIRECT_URL"):
            Database(url, direct_url=direct)
