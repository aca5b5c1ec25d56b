"""Runs a property for a while: some seconds in `make test`, as long as wanted by `make fuzz SECONDS=600`."""

import os
import time
from collections.abc import Callable, Iterator
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

SECONDS = float(os.environ.get("AFTERCALL_FUZZ_SECONDS", "0"))
FIRST_SEED = int(os.environ.get("AFTERCALL_FUZZ_SEED", "0"))
_EXAMPLES = 12
"""Of one run; each example is a list of inputs."""
_PHASES = (Phase.generate, Phase.shrink) if os.environ.get("AFTERCALL_FUZZ_SHRINK") else (Phase.generate,)


def fuzz(inputs: st.SearchStrategy[Any], check: Callable[[list[Any]], None], *, at_once: int = 80) -> None:
    """Check lists of up to `at_once` inputs. What fails can be repeated by its seed,
    AFTERCALL_FUZZ_SEED; AFTERCALL_FUZZ_SHRINK=1 makes it as small as possible, which takes minutes.

    Without AFTERCALL_FUZZ_SECONDS it is one run, the same each time; with it, runs of ever new seeds until
    the time is over. Prints how many inputs were tried.
    """
    tried = 0

    def counted(batch: list[Any]) -> None:
        nonlocal tried
        tried += len(batch)
        check(batch)

    try:
        for number in repeated():
            run = given(batch=st.lists(inputs, min_size=at_once // 2, max_size=at_once))(counted)
            run = settings(
                max_examples=_EXAMPLES,
                database=None,
                deadline=None,
                phases=_PHASES,
                print_blob=True,
                suppress_health_check=list(HealthCheck),
            )(run)
            seed(number)(run)()
    finally:
        print(f"fuzz: {tried} inputs tried")  # noqa: T201


def repeated() -> Iterator[int]:
    """Yield one seed, the same each time; with AFTERCALL_FUZZ_SECONDS ever new ones until the time is over.

    Prints which was the last.
    """
    begun, number = time.monotonic(), FIRST_SEED
    try:
        while True:
            yield number
            if time.monotonic() - begun >= SECONDS:
                break
            number += 1
    finally:
        print(f"\nfuzz: {time.monotonic() - begun:.0f} s, last seed {number}")  # noqa: T201
