"""Puts ids on every line that is logged while something is worked on: `account_id` here, others where they are known."""

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
    """Let a method, whose first argument is an account's id, log with that id."""

    @wraps(method)
    async def bound(self: S, account_id: AccountId, /, *args: P.args, **kwargs: P.kwargs) -> R:
        with bound_contextvars(account_id=str(account_id)):
            return await method(self, account_id, *args, **kwargs)

    return bound


def account_of_key(key: Any) -> str | None:
    """Return the account's id that a lane's key begins with: the key itself, or the first of a tuple."""
    first = key[0] if isinstance(key, tuple) and key else key
    return first if isinstance(first, str) else None
