"""The background work of accounts: the service's own account is learnt, tokens are refreshed, directories are
read.
"""

from collections.abc import Iterator

from app.accounts.context import AccountsContext
from app.accounts.directory.time_zones import TimeZoneReader
from app.accounts.directory.worker import DirectoryReader
from app.accounts.onboarding import Onboarding
from app.accounts.token_refresh import CHECK_SECONDS, TokenRefresher
from app.settings import Settings
from app.work import wakeups
from app.work.loops import Loop


def account_loops(context: AccountsContext, settings: Settings, onboarding: Onboarding) -> Iterator[Loop]:
    """Yield the loops of a worker."""
    yield Loop("own account", onboarding.learn_own, (), CHECK_SECONDS)
    refresher = TokenRefresher(context.connections, context.clock)
    yield Loop("sign-ins", refresher.step, (wakeups.REFUSALS,), CHECK_SECONDS)
    if settings.directory_refresh_seconds > 0:
        directory = DirectoryReader(context, settings.directory_refresh_seconds)
        woken = (wakeups.CREDENTIALS,)
        yield Loop("directory", directory.step, woken, settings.step_seconds * 10, directory.close)
        zones = TimeZoneReader(context)
        # Each step looks at all people of all accounts, and of each account a few are asked for a minute.
        yield Loop("time zones", zones.step, (), settings.step_seconds * 20, zones.close)
