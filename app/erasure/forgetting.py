"""Forgets what this process remembers of calls and people once something was erased."""

from app.api.answers import Answers
from app.calls.company import forget_companies
from app.values.phone_numbers import forget_numbers
from app.work.wakeups import ERASURES, Wakeups


async def forget_erased(wakeups: Wakeups, answers: Answers) -> None:
    """Empty the caches of this process at each wake-up about an erasure, until cancelled.

    Nothing of them is ever sent of an erased call: the database is asked first. A lost wake-up leaves what
    is erased in memory until other calls take its place.
    """
    with wakeups.listen(ERASURES) as woken:
        while True:
            await woken.wait()
            woken.clear()
            forget(answers)


def forget(answers: Answers) -> None:
    """Empty the caches of this process."""
    answers.clear()
    forget_companies()
    forget_numbers()
