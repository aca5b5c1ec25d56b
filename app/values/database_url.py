"""Reads the address of a database, in every form in which hosting providers give it. No I/O.

SQLite: `sqlite:///relative.db`, `sqlite:////absolute.db`, `sqlite:///C:/on/windows.db`, `?mode=rw`.

PostgreSQL: a URL with one or several hosts and libpq's parameters, or libpq's own form `host=db.example
dbname=calls user=aftercall`. What the driver does not support is rejected by the parameter's name if ignoring
it would be unsafe, and noted otherwise. No message repeats a value that could be part of a password.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import NamedTuple
from urllib.parse import quote, unquote, unquote_plus

SQLITE = "sqlite+aiosqlite"
POSTGRES = "postgresql+asyncpg"
_DRIVERS = ("asyncpg", "psycopg", "psycopg2", "psycopg2cffi", "psycopg_async", "pg8000")
_SCHEMES = {
    "sqlite": SQLITE,
    SQLITE: SQLITE,
    "sqlite+pysqlite": SQLITE,
    **dict.fromkeys(("postgres", "postgresql"), POSTGRES),
    **{f"{name}+{driver}": POSTGRES for name in ("postgres", "postgresql") for driver in _DRIVERS},
}
DEFAULT_APPLICATION = "aftercall"
"""`application_name` if the address gives none."""

_TLS = (
    "sslrootcert", "sslcert", "sslkey", "sslcrl", "sslpassword", "sslnegotiation",
    "ssl_min_protocol_version", "ssl_max_protocol_version",
)  # fmt: skip
TLS_FILES = ("sslrootcert", "sslcert", "sslkey", "sslcrl")
_PASSED = ("passfile", "service", "krbsrvname", "gsslib")
_WITHOUT_EFFECT = (
    "keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout",
    "sslcompression", "sslsni", "sslcertmode", "load_balance_hosts",
)  # fmt: skip
"""What the driver does not know and the service does not need."""

_READ = (
    "host", "port", "dbname", "database", "user", "password", "sslmode", "ssl", "application_name",
    "fallback_application_name", "options", "connect_timeout", "target_session_attrs", "client_encoding",
    "channel_binding", "gssencmode", "pgbouncer", "statement_cache_size", "prepared_statement_cache_size",
)  # fmt: skip
_KNOWN = frozenset((*_READ, *_TLS, *_PASSED, *_WITHOUT_EFFECT))
_SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_SSL_WORDS = {
    **dict.fromkeys(("true", "1", "on", "yes", "t", "no-verify"), "require"),
    **dict.fromkeys(("false", "0", "off", "no", "f"), "disable"),
    **{mode.replace("-", "_"): mode for mode in _SSL_MODES},
    **{mode: mode for mode in _SSL_MODES},
}
_BOOLEANS = {
    **dict.fromkeys(("true", "1", "on", "yes"), True),
    **dict.fromkeys(("false", "0", "off", "no"), False),
}
_SESSIONS = ("any", "read-write", "primary")
_STANDBYS = ("read-only", "standby", "prefer-standby")
_PLAIN_IN_PATHS = "/:\\ ()+,;=@!$&~"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,40}")
_HOST = re.compile(r"(?P<name>\[[0-9A-Fa-f:.%\w]+\]|[^\[\]:/?#@\s,]*)(?::(?P<port>\d*))?")
_HOST_NAME = re.compile(r"[\w.-]*|[0-9A-Fa-f:.]+(%\w+)?|[/@].*")


@dataclass(frozen=True, slots=True)
class SqliteAddress:
    """A file. `creates`: it is created if it does not exist."""

    path: str
    creates: bool = True

    @property
    def url(self) -> str:
        """The address in one form, which `read_database_url` reads as the same."""
        return f"{SQLITE}:///{quote(self.path, safe=_PLAIN_IN_PATHS)}{'' if self.creates else '?mode=rw'}"

    @property
    def shown(self) -> str:
        """The same: it has no secrets."""
        return self.url


@dataclass(frozen=True, slots=True)
class PostgresAddress:
    """A server, or several of which one accepts writes. What is None or empty is left to libpq's environment
    and files.

    `pooled`: whether a pooler gives each transaction another session; None: to be detected. `unused`: what in
    the address has no effect.
    """

    hosts: tuple[str, ...] = ()
    ports: tuple[int | None, ...] = ()
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    database: str | None = None
    sslmode: str | None = None
    tls: Mapping[str, str] = field(default_factory=dict, repr=False)
    passed: Mapping[str, str] = field(default_factory=dict)
    server_settings: Mapping[str, str] = field(default_factory=dict)
    connect_timeout: float | None = None
    target_session_attrs: str | None = None
    pooled: bool | None = None
    unused: Mapping[str, str] = field(default_factory=dict)

    @property
    def notes(self) -> tuple[str, ...]:
        """What has no effect, one sentence each."""
        return tuple(
            "channel_binding=require has no effect: the driver does not know it; "
            "sslmode=verify-full makes sure that the server is the right one"
            if name == "channel_binding"
            else f"{name} has no effect: the driver does not know it"
            for name in self.unused
        )

    @property
    def url(self) -> str:
        """The address in one form, with its password; `read_database_url` reads it as the same."""
        return self._render(hide=False)

    @property
    def shown(self) -> str:
        """The same without secrets, for messages."""
        return self._render(hide=True)

    @property
    def parameters(self) -> dict[str, str]:
        """The parameters after the question mark, except hosts and secrets."""
        given = {"sslmode": self.sslmode} if self.sslmode else {}
        given |= {name: value for name, value in self.tls.items() if name != "sslpassword"}
        given |= {**self.passed, **self.server_settings, **self.unused}
        if self.connect_timeout is not None:
            given["connect_timeout"] = f"{self.connect_timeout:g}"
        if self.target_session_attrs:
            given["target_session_attrs"] = self.target_session_attrs
        if self.pooled is not None:
            given["pgbouncer"] = "true" if self.pooled else "false"
        return given

    def _render(self, *, hide: bool) -> str:
        login = quote(self.user, safe="") if self.user is not None else ""
        if self.password is not None:
            login += f":{'***' if hide else quote(self.password, safe='')}"
        login += "@" if login else ""
        parameters = self.parameters
        hosts = ",".join(map(authority, self.hosts, self.ports))
        if any(host.startswith(("/", "@")) for host in self.hosts):
            hosts, parameters["host"] = "", ",".join(self.hosts)
            if any(self.ports):
                parameters["port"] = ",".join(str(port or "") for port in self.ports)
        if "sslpassword" in self.tls:
            parameters["sslpassword"] = "***" if hide else self.tls["sslpassword"]
        query = "&".join(f"{name}={quote(value, safe='/*:,-')}" for name, value in parameters.items())
        database = f"/{quote(self.database, safe='')}" if self.database is not None else "/" if query else ""
        return f"{POSTGRES}://{login}{hosts}{database}{'?' if query else ''}{query}"


Address = SqliteAddress | PostgresAddress


def authority(host: str, port: int | None) -> str:
    """Return host and port as they are written in URLs."""
    name = f"[{quote(host, safe=':')}]" if ":" in host else host
    return f"{name}:{port}" if port else name


def read_database_url(value: str) -> Address:
    """Return what an address says.

    Raises ValueError with a sentence that names the parameter that cannot be used.
    """
    value = value.strip()
    if value[:1] in {"'", '"'}:
        raise ValueError("the quotes around it are part of the value; remove them")
    if any(ord(character) < 32 for character in value):
        raise ValueError("it contains a line break or another control character")
    scheme, separator, rest = value.partition("://")
    if not separator or "=" in scheme:
        return _from_pairs(value)
    kind = _SCHEMES.get(scheme.lower())
    if kind is None:
        raise ValueError("it must begin with sqlite:// or postgresql://")
    return _read_sqlite(rest) if kind == SQLITE else _read_postgres(rest)


# --- SQLite -------------------------------------------------------------------------------------------------


def _read_sqlite(rest: str) -> SqliteAddress:
    place, _, query = rest.partition("?")
    if place and not place.startswith("/"):
        raise ValueError(
            "SQLite takes a file after three slashes (sqlite:///aftercall.db), or four if its path is "
            "absolute"
        )
    path = unquote(place[1:])
    path = path.removeprefix("file:")
    parameters = {name: value for name, value in _pairs(query) if value}
    mode = parameters.pop("mode", "rwc")
    if not path or path == ":memory:" or mode == "memory":
        raise ValueError(
            "a SQLite database in memory is not shared by the connections of the service and is lost "
            "when it stops; "
            "give a file: sqlite:///aftercall.db"
        )
    if mode not in {"rw", "rwc"}:
        raise ValueError("mode must be rw or rwc: the service writes to its database")
    if parameters.pop("cache", "private") != "private":
        raise ValueError("cache must be private: the connections of the service rely on SQLite's own locks")
    parameters.pop("uri", None)
    _refuse_unknown(parameters, frozenset({"mode", "cache", "uri"}))
    return SqliteAddress(path, creates=mode == "rwc")


# --- PostgreSQL ---------------------------------------------------------------------------------------------


class _Parts(NamedTuple):
    login: str
    hosts: str
    database: str
    query: str


def _read_postgres(rest: str) -> PostgresAddress:
    parts = next(filter(None, (_split(rest, at) for at in _ends_of_login(rest))), None)
    if parts is None:
        raise ValueError(
            "it cannot be parsed; in the user and the password, write @ as %40, / as %2F, ? as %3F and : "
            "as %3A"
        )
    user, _, password = parts.login.partition(":")
    given = {"user": unquote(user), "password": unquote(password), "dbname": unquote(parts.database)}
    given = {name: text for name, text in given.items() if text}
    given |= _read_authority(parts.hosts)
    asked: dict[str, str] = {}
    for name, text in _pairs(parts.query):
        if name in asked and name != "host":
            raise ValueError(f"{_named(name)} is given twice")
        asked[name] = f"{asked[name]},{text}" if name in asked else text
    asked = {name: text for name, text in asked.items() if text}
    if "host" in asked and "port" not in asked:
        given.pop("port", None)
    return _from_parameters(given | asked)


def _ends_of_login(rest: str) -> list[int]:
    """Return where user and password may end, best guess first; -1: there are none.

    As with libpq they end before the first slash. But passwords with a slash or a question mark are common.
    """
    signs = [index for index, character in enumerate(rest) if character == "@"]
    before = [index for index in signs if index < len(re.split(r"[/?]", rest, maxsplit=1)[0])]
    return [before[-1] if before else -1, *(index for index in signs if index not in before)]


def _split(rest: str, at: int) -> _Parts | None:
    hosts, slash, path = re.fullmatch(r"([^/?]*)(/?)(.*)", rest[at + 1 :], re.DOTALL).groups()  # type: ignore[union-attr]
    database, _, query = path.partition("?") if slash else ("", "", path.removeprefix("?"))
    names = [pair.partition("=")[0] for pair in query.split("&")]
    makes_sense = "@" not in database and all("@" not in name for name in names)
    if not makes_sense or not all(map(_HOST.fullmatch, hosts.split(","))):
        return None
    return _Parts(rest[: max(at, 0)], hosts, database, query)


def _read_authority(text: str) -> dict[str, str]:
    """Return `host` and `port` as the parameters of these names."""
    hosts, ports = [], []
    for part in text.split(","):
        found = _HOST.fullmatch(part)
        assert found is not None  # noqa: S101 - checked when the address was split
        hosts.append(unquote(found["name"]).strip("[]"))
        ports.append(found["port"] or "")
    given = {"host": ",".join(hosts)} if any(hosts) else {}
    return given | ({"port": ",".join(ports)} if any(ports) else {})


def _from_pairs(text: str) -> PostgresAddress:
    given: dict[str, str] = {}
    for name, value in _libpq_pairs(text):
        if name in given:
            raise ValueError(f"{_named(name)} is given twice")
        if value:
            given[name] = value
    return _from_parameters(given)


def _libpq_pairs(text: str) -> Iterator[tuple[str, str]]:
    """Yield the pairs of libpq's form: `name=value name='two words'`, with backslashes before quotes."""
    at, last = 0, "the beginning"
    while rest := text[at:].lstrip():
        found = re.match(r"([A-Za-z_]\w*)\s*=\s*", rest)
        if found is None:
            if last == "the beginning":
                raise ValueError("it must begin with sqlite:// or postgresql://")
            raise ValueError(
                f"what follows {last} is not of the form name=value; put values with spaces into quotes"
            )
        name, at = found[1], len(text) - len(rest) + found.end()
        value = re.compile(r"'((?:[^'\\]|\\.)*)'(?=\s|$)|((?:[^\s'\\]|\\.)(?:[^\s\\]|\\.)*)?(?=\s|$)").match(
            text, at
        )
        if value is None:
            raise ValueError(f"{_named(name)} has a quote that does not end")
        yield name.lower(), re.sub(r"\\(.)", r"\1", value[1] if value[1] is not None else value[2] or "")
        at, last = value.end(), _named(name)


def _from_parameters(given: dict[str, str]) -> PostgresAddress:
    _refuse_unknown(given, _KNOWN)
    hosts, ports = _read_hosts(given)
    unused = {name: given[name] for name in _WITHOUT_EFFECT if name in given}
    if given.get("channel_binding") == "require":
        unused["channel_binding"] = "require"
    _check_words(given)
    return PostgresAddress(
        hosts=hosts,
        ports=ports,
        user=given.get("user"),
        password=given.get("password"),
        database=given.get("dbname", given.get("database")),
        sslmode=_read_sslmode(given),
        tls={name: given[name] for name in _TLS if name in given},
        passed={name: given[name] for name in _PASSED if name in given},
        server_settings=_read_server_settings(given),
        connect_timeout=_read_timeout(given.get("connect_timeout")),
        target_session_attrs=given.get("target_session_attrs"),
        pooled=_read_pooled(given),
        unused=unused,
    )


def _read_hosts(given: Mapping[str, str]) -> tuple[tuple[str, ...], tuple[int | None, ...]]:
    hosts = [host.strip() for host in given.get("host", "").split(",")]
    if "port" not in given:  # SQLAlchemy's form of several hosts: ?host=one:5432&host=two:5433
        apart = [re.fullmatch(r"(\[.+\]|[^:\[\]]*)(?::(\d+))?", host) for host in hosts]
        if all(apart):
            hosts = [found[1] for found in apart if found]
            given = {**given, "port": ",".join(found[2] or "" for found in apart if found)}
    hosts = [host.strip("[]") for host in hosts]
    if not all(map(_HOST_NAME.fullmatch, hosts)):
        raise ValueError("host must be a name, an address or the folder of a socket")
    if len(hosts) > 1 and not all(hosts):
        raise ValueError("host has an empty name among several")
    ports = [_read_port(text.strip()) for text in given.get("port", "").split(",")]
    if len(ports) == 1:
        ports *= len(hosts)
    if len(ports) != len(hosts):
        raise ValueError(f"port names {len(ports)} ports for {len(hosts)} hosts")
    if hosts == [""]:
        return (("",), tuple(ports)) if any(ports) else ((), ())
    return tuple(hosts), tuple(ports)


def _read_port(text: str) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) <= 5 and 0 < int(text) < 65_536):
        raise ValueError("port must be a number from 1 to 65535")
    return int(text)


def _read_sslmode(given: Mapping[str, str]) -> str | None:
    modes = {}
    for name in ("sslmode", "ssl"):
        word = given.get(name)
        if word is not None:
            modes[name] = _SSL_WORDS.get(word.lower())
            if modes[name] is None:
                expected = (
                    ", ".join(_SSL_MODES) if name == "sslmode" else f"true, false, {', '.join(_SSL_MODES)}"
                )
                raise ValueError(f"{name} must be one of {expected}")
    return modes.get("sslmode") or modes.get("ssl")


def _read_server_settings(given: Mapping[str, str]) -> dict[str, str]:
    name = given.get("application_name") or given.get("fallback_application_name")
    found = {"application_name": name} if name else {}
    return found | ({"options": given["options"]} if "options" in given else {})


def _read_timeout(text: str | None) -> float | None:
    if text is None:
        return None
    if not re.fullmatch(r"-?\d{1,6}", text, re.ASCII):
        raise ValueError("connect_timeout must be a whole number of seconds")
    return float(text) if int(text) > 0 else None


def _read_pooled(given: Mapping[str, str]) -> bool | None:
    """Whether a pooler is named: `pgbouncer=true`, or a statement cache of size 0 as elsewhere."""
    if any(
        given.get(name) not in {None, "0"}
        for name in ("statement_cache_size", "prepared_statement_cache_size")
    ):
        raise ValueError(
            "statement_cache_size can only be 0, which means pgbouncer=true; leave it out otherwise"
        )
    if "pgbouncer" not in given:
        return True if {"statement_cache_size", "prepared_statement_cache_size"} & set(given) else None
    pooled = _BOOLEANS.get(given["pgbouncer"].lower())
    if pooled is None:
        raise ValueError("pgbouncer must be true or false")
    return pooled


def _check_words(given: Mapping[str, str]) -> None:
    """Reject values that would mean another server, another encoding or less security than requested."""
    session = given.get("target_session_attrs", "any")
    if session in _STANDBYS:
        raise ValueError(f"target_session_attrs cannot be {session}: the service writes; use read-write")
    if session not in _SESSIONS:
        raise ValueError(f"target_session_attrs must be one of {', '.join(_SESSIONS)}")
    encoding = given.get("client_encoding", "utf8").lower().replace("-", "").replace("_", "")
    if encoding not in {"utf8", "unicode", "auto"}:
        raise ValueError("client_encoding must be utf8")
    if given.get("channel_binding", "prefer") not in {"disable", "prefer", "require"}:
        raise ValueError("channel_binding must be one of disable, prefer, require")
    if given.get("gssencmode", "prefer") not in {"disable", "prefer", "allow"}:
        raise ValueError("gssencmode must be disable or prefer: the driver does not encrypt by GSSAPI")


# --- both ---------------------------------------------------------------------------------------------------


def _pairs(query: str) -> Iterator[tuple[str, str]]:
    for pair in filter(None, query.split("&")):
        name, _, value = pair.partition("=")
        yield unquote_plus(name), unquote_plus(value)


def _named(name: str) -> str:
    return name if _NAME.fullmatch(name) else "a parameter"


def _refuse_unknown(given: Mapping[str, str], known: frozenset[str]) -> None:
    strange = next((name for name in given if name not in known), None)
    if strange is None:
        return
    if not _NAME.fullmatch(strange):
        raise ValueError(
            "it has a parameter without a valid name; in a password, write ? as %3F and & as %26"
        )
    alike = get_close_matches(strange, sorted(known), 1)
    raise ValueError(f"the parameter {strange} is not known{f'; did you mean {alike[0]}?' if alike else ''}")
