"""Adds `account_id` to every line that is logged during a piece of work."""

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from structlog.contextvars import bound_contextvars

from app.ids import AccountId

S = TypeVar("S")
P = ParamSpec("P")
R = TypeVar("R")


def about_account(
    method: Callable[Concatenate[S, AccountId, P], Awaitable[R]],
) -> Callable[Concatenate[S, AccountId, P], Awaitable[R]]:
    """Let a method whose first argument is an account id log with that id."""

    @wraps(method)
    async def bound(self: S, account_id: AccountId, /, *args: P.args, **kwargs: P.kwargs) -> R:
        with bound_contextvars(account_id=str(account_id)):
            return await method(self, account_id, *args, **kwargs)

    return bound


def account_of_key(key: Any) -> str | None:
    """Return the account id of a lane's key: the key itself, or the first item of a tuple."""
    first = key[0] if isinstance(key, tuple) and key else key
    return first if isinstance(first, str) else None
