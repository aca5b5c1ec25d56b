"""What the tests of one process make once: TLS settings, and the SQL text of statements.

To read the certificates of all authorities for a client takes a fortieth of a second, and to compile the
statements of a test again a tenth of its time.
"""

from collections.abc import Iterator, MutableMapping
from functools import cache
from typing import Any

import httpx
from httpx._transports import default as transports
from sqlalchemy.ext.asyncio import create_async_engine

from app.db import engine

_statements: dict[Any, Any] = {}


class SharedStatements(MutableMapping[Any, Any]):
    """Compiled statements of all engines with the same kind of dialect.

    SQLAlchemy keeps them for one engine, and a test has one of its own. An entry's key begins with the
    engine's dialect, and `app.db.engine` makes all dialects of a kind alike.
    """

    def _key(self, key: Any) -> Any:
        dialect, *others = key
        return (type(dialect), *others)

    def __getitem__(self, key: Any) -> Any:
        return _statements[self._key(key)]

    def __setitem__(self, key: Any, compiled: Any) -> None:
        _statements[self._key(key)] = compiled

    def __delitem__(self, key: Any) -> None:
        del _statements[self._key(key)]

    def __iter__(self) -> Iterator[Any]:
        return iter(_statements)

    def __len__(self) -> int:
        return len(_statements)


def _create_async_engine(*arguments: Any, **options: Any) -> Any:
    made = create_async_engine(*arguments, **options)
    made.sync_engine.update_execution_options(compiled_cache=SharedStatements())
    return made


def share() -> None:
    """Share both from now on, in this process."""
    vars(transports)["create_ssl_context"] = cache(httpx.create_ssl_context)
    vars(engine)["create_async_engine"] = _create_async_engine
