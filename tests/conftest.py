"""Shared fixtures: settings, a clock to move, a migrated database of either kind, the app with a client.

Whatever asks for `database_url` (or for `database`, `services`, `client`) runs twice: on SQLite and on
PostgreSQL; AFTERCALL_TEST_POSTGRES chooses which (see tests/postgres_binaries.py). On a platform without a
server those runs are skipped, or fail with AFTERCALL_REQUIRE_POSTGRES=1.
"""

from tests import tracing  # before what it keeps coverage from measuring twice

# isort: split

import asyncio
import gc
import os
import shutil
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import asyncpg
import httpx
import hypothesis
import pytest
import structlog
from fastapi import APIRouter, Depends, FastAPI
from sqlalchemy import delete, text

from app import log
from app.api import keys, problems
from app.api.dependencies import Services
from app.api.head_requests import HeadAsGet
from app.api.middleware.key_headers import KeyHeaders
from app.api.strictness import refuse_misunderstandings
from app.calls import accounts
from app.calls import router as calls_router
from app.calls.attachments import router as attachments_router
from app.calls.attachments.batch import router as attachment_batches_router
from app.calls.conversations import router as conversations_router
from app.calls.feed import router as feed_router
from app.calls.feed.feeds import Feeds
from app.calls.history import router as history_router
from app.calls.insights import router as insights_router
from app.db.engine import Database
from app.db.migrations import head, migrate
from app.db.tables import metadata
from app.exports import router as exports_router
from app.extensions_api import router as extensions_router
from app.ids import UNBOUND_ACCOUNT, AccountId
from app.projections import router as projections_router
from app.push.api import attempts_router as webhook_attempts_router
from app.push.api import endpoints_router as webhook_endpoints_router
from app.settings import Settings
from app.work.wakeups import Wakeups
from tests import completeness, distribution, postgres_binaries, postgres_versions, sharing, skips
from tests.cluster import Cluster
from tests.factories_calls import ACCOUNT
from tests.fakes.clock import FakeClock
from tests.postgres_binaries import NoPostgres

SECRETS = {
    "secret_key": "0123456789abcdef0123456789abcdef",
    "webhook_token": "a-verification-token",
    "api_key": "ak_first-key-of-the-tests-0123456789",
}
# How long an example takes is the machine's affair. `make fuzz` and `make soak` try more than the suite does.
hypothesis.settings.register_profile(
    "patient", max_examples=40, deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("patient")

T = TypeVar("T")
pytest_plugins = ["pytester"]
_TEMPLATE = "aftercall_template"
_ENOUGH_MEMORY = 2 * 1024**3
_VERSION_STANDS = text("SELECT 1 / count(*) FROM alembic_version WHERE version_num = :head").bindparams(
    head=head()
)
_numbers = count()


def pytest_configure(config: pytest.Config) -> None:
    completeness.pytest_configure(config)
    config.pluginmanager.register(distribution, "aftercall-distribution")
    config.pluginmanager.register(skips, "aftercall-skips")
    config.pluginmanager.register(tracing, "aftercall-tracing")
    sharing.share()
    _keep_files_in_memory()
    _render_plain_tracebacks()


def _render_plain_tracebacks() -> None:
    """Log exceptions as the service does: a traceback with colours and variables takes seconds to render."""
    *others, _ = structlog.get_config()["processors"]
    plain = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[*others, plain])


def _keep_files_in_memory() -> None:
    """Put the tests' folders into Linux's folder in memory, if it has room: SQLite waits for the disk at each
    commit."""
    memory = Path("/dev/shm")
    if memory.is_dir() and os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > _ENOUGH_MEMORY:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(memory))


def pytest_collection_finish() -> None:
    """Take what was collected out of the garbage collector's sight: looking through it took a fifth of a
    run's time."""
    gc.collect()
    gc.freeze()


def pytest_report_header() -> str:
    """Say which server the tests run on."""
    try:
        folder = postgres_binaries.find_binaries()
    except NoPostgres as reason:
        return f"PostgreSQL: none, {reason}"
    return f"PostgreSQL: {postgres_binaries.version_of(folder)} in {folder}"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what runs on PostgreSQL, and what of it runs on another version as well."""
    for item in items:
        parameters = getattr(getattr(item, "callspec", None), "params", {})
        fixtures = getattr(item, "fixturenames", ())
        if "postgresql" in parameters.values() or "postgres" in fixtures:
            item.add_marker("postgresql")
            if postgres_versions.depends_on_version(item.nodeid, fixtures):
                item.add_marker("postgresql_version")


@pytest.fixture(autouse=True)
def _logging_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that runs in this process sets no logging up: its stream is closed when the test is over."""
    monkeypatch.setattr(log, "configure", lambda level, form: None)


def _run_apart(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine in a thread of its own, so that no test meets its event loop."""
    failed: list[BaseException] = []

    def run() -> None:
        try:
            asyncio.run(coroutine)
        except BaseException as error:  # noqa: BLE001 - raised again below, in the thread that waits
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]


async def _migrate(url: str) -> None:
    database = Database(url)
    try:
        await migrate(database)
    finally:
        await database.close()


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file, to be copied."""
    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    _run_apart(_migrate(f"sqlite+aiosqlite:///{path}"))
    return path


@pytest.fixture(scope="session")
def postgres() -> Iterator[Cluster]:
    """A throwaway PostgreSQL, started once."""
    try:
        cluster = Cluster()
    except NoPostgres as reason:
        if postgres_binaries.IS_REQUIRED:
            pytest.fail(f"PostgreSQL is required: {reason}")
        pytest.skip(f"no PostgreSQL: {reason}")
    yield cluster
    cluster.stop()


@pytest.fixture(scope="session")
def postgres_template(postgres: Cluster) -> str:
    """The name of a migrated database, to be cloned."""
    _run_apart(_administer(postgres, f'CREATE DATABASE "{_TEMPLATE}"'))
    _run_apart(_migrate(postgres.url(_TEMPLATE)))
    return _TEMPLATE


async def _administer(cluster: Cluster, statement: str, name: str = "postgres") -> None:
    connection = await asyncpg.connect(cluster.dsn(name))
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    """A migrated SQLite database of one's own."""
    path = tmp_path / "aftercall.db"
    path.touch(mode=0o600)  # as the service makes it
    shutil.copyfile(sqlite_template, path)
    return f"sqlite+aiosqlite:///{path}"


_NOTHING_ADDED = """
    SELECT 1 / (CASE WHEN EXISTS (
        SELECT FROM pg_constraint WHERE contype = 'c' AND connamespace = 'public'::regnamespace
        UNION ALL SELECT FROM pg_trigger WHERE NOT tgisinternal
        UNION ALL SELECT FROM pg_class
            WHERE relispartition AND relkind = 'r' AND relname <> 'deliveries_default'
    ) THEN 0 ELSE 1 END)
"""
"""Fails where a test has left a check, a trigger or the partition of a day behind: the template has none."""


@pytest.fixture(scope="session")
def _emptied() -> list[str]:
    """Names of databases that were used and emptied: cloning the template takes a hundred times as long."""
    return []


@pytest.fixture
async def postgres_url(postgres: Cluster, postgres_template: str, _emptied: list[str]) -> AsyncIterator[str]:
    """A migrated PostgreSQL database of one's own."""
    if _emptied:
        name = _emptied.pop()
    else:
        name = f"test_{next(_numbers)}"
        await _administer(postgres, f'CREATE DATABASE "{name}" TEMPLATE "{postgres_template}"')
    yield postgres.url(name)
    try:
        everything = [str(delete(table)) for table in reversed(metadata.sorted_tables)]
        # Fails where a test took the version away, or changed it.
        everything.append(str(_VERSION_STANDS.compile(compile_kwargs={"literal_binds": True})))
        everything.append(_NOTHING_ADDED)
        await _administer(postgres, "; ".join(["SET lock_timeout = '2s'", *everything]), name)
        _emptied.append(name)
    except asyncpg.PostgresError:  # the test changed the schema, or left a transaction open
        await _administer(postgres, f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """A migrated database of one's own, of either kind."""
    url: str = request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url")
    return url


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def make_settings(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Settings out of nothing but what the test says: the machine's environment is left out."""
    for name in [name for name in os.environ if name.startswith(("AFTERCALL_", "RC_"))]:
        monkeypatch.delenv(name)

    def make(**values: Any) -> Settings:
        return Settings(**{**SECRETS, **values})

    return make


@pytest.fixture
def settings(make_settings: Any, database_url: str) -> Settings:
    made: Settings = make_settings(database_url=database_url)
    return made


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    opened = Database(database_url)
    yield opened
    await opened.close()


@pytest.fixture
async def postgres_database(postgres_url: str) -> AsyncIterator[Database]:
    """PostgreSQL alone, for what SQLite cannot do: two writers at once, EXPLAIN with statistics."""
    opened = Database(postgres_url)
    yield opened
    await opened.close()


@pytest.fixture
async def services(settings: Settings, database: Database, clock: FakeClock) -> AsyncIterator[Services]:
    wakeups = Wakeups()
    database.waker = wakeups.wake
    yield Services(settings=settings, database=database, wakeups=wakeups, clock=clock)
    # Before the database is closed.
    while _FEEDS:
        await _FEEDS.pop().aclose()


_FEEDS: list[Feeds] = []
"""The feeds that this test has opened."""


def open_feeds(services: Services) -> Feeds:
    """Feeds that are closed at the end of the test."""
    _FEEDS.append(Feeds(services))
    return _FEEDS[-1]


@pytest.fixture
async def account(database: Database, clock: FakeClock) -> AccountId:
    """The account of the fictional world, known to be the service's own."""
    async with database.write() as db:
        await accounts.open_unbound(db, clock.now())
        await accounts.bind(db, ACCOUNT, clock.now())
    return ACCOUNT


@pytest.fixture
async def api_key(database: Database, clock: FakeClock) -> str:
    """A key with every scope, of the service's own account (`~`)."""
    async with database.write() as db:
        return (await keys.create_key(db, UNBOUND_ACCOUNT, "tests", clock.now())).plain


@cache
def _connector_api() -> APIRouter:
    """The routes, made once: to read what their signatures say takes longer than most tests."""
    made = APIRouter()
    for router in (
        calls_router.router,
        conversations_router.router,
        feed_router.router,
        attachments_router.router,
        attachment_batches_router.router,
        insights_router.router,
        history_router.router,
        exports_router.router,
        extensions_router.router,
        projections_router.router,
        webhook_endpoints_router.router,
        webhook_attempts_router.router,
    ):
        made.include_router(router, dependencies=[Depends(refuse_misunderstandings)])
    return made


def build_app(services: Services) -> FastAPI:
    """The app as it serves the connector API, on services that the test has opened."""
    app = FastAPI()
    problems.install(app)
    app.router.routes.extend(_connector_api().routes)
    app.add_middleware(HeadAsGet)
    app.add_middleware(KeyHeaders)
    app.state.services = services
    app.state.feeds = open_feeds(services)
    return app


@pytest.fixture
def app(services: Services) -> FastAPI:
    return build_app(services)


def open_client(app: FastAPI, api_key: str | None = None) -> httpx.AsyncClient:
    """A client that talks to the app in this process; errors of the app come as answers."""
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app, raise_app_exceptions=False),
        base_url="http://aftercall.test",
        headers={"Authorization": f"Bearer {api_key}"} if api_key else {},
    )


async def until(holds: Callable[[], bool]) -> None:
    """Wait for something that other tasks bring about; the caller sets the limit (`asyncio.timeout`)."""
    while not holds():  # noqa: ASYNC110 - what is waited for knows of no event
        await asyncio.sleep(0.01)


async def answer_to(ask: Callable[[], Awaitable[T | None]]) -> T:
    """Ask again and again until there is an answer, for a minute: longer than any machine stands still."""
    async with asyncio.timeout(60):
        while not (answer := await ask()):  # noqa: ASYNC110 - what is asked knows of no event
            await asyncio.sleep(0.02)
    return answer


@pytest.fixture
async def anonymous(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """A client without a key."""
    async with open_client(app) as opened:
        yield opened


@pytest.fixture
async def client(app: FastAPI, account: AccountId, api_key: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client with every scope; the account is bound."""
    async with open_client(app, api_key) as opened:
        yield opened
