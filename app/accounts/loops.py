"""The background work of accounts: the service's own account is learnt, and tokens are refreshed."""

from collections.abc import Iterator

from app.accounts.context import AccountsContext
from app.accounts.onboarding import Onboarding
from app.accounts.token_refresh import CHECK_SECONDS, TokenRefresher
from app.work import wakeups
from app.work.loops import Loop


def account_loops(context: AccountsContext, onboarding: Onboarding) -> Iterator[Loop]:
    """Yield the loops of a worker."""
    yield Loop("own account", onboarding.learn_own, (), CHECK_SECONDS)
    refresher = TokenRefresher(context.connections, context.clock)
    yield Loop("sign-ins", refresher.step, (wakeups.REFUSALS,), CHECK_SECONDS)
