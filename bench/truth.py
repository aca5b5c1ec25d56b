"""Print how many values of the scripted calls are right, for each way in which a call can be told.

`python -m bench.truth [--json] [--quick]` derives every script of the simulator from its events alone, its
records alone, one user's records alone and everything together, and compares each field with the truth that
tests/truth/expected.py states. It also prints how long one derivation takes. Reads no clock but for that.
"""

import argparse
import json
import statistics
import sys
import time
from collections import Counter
from collections.abc import Sequence

from app.calls.evidence.people import UNKNOWN_COMPANY, Company
from tests.truth.conformance import COMPARED, DIRECTORY, WAYS, Difference, Telling, compare, tellings

API_NAMES = {"caller": "from", "called": "to", "answered_at": "answerTime"}


def measure(told: Sequence[Telling], company: Company) -> tuple[Counter[str], Counter[str], list[Difference]]:
    """Return the numbers of compared and of right values by way, and what is wrong."""
    compared: Counter[str] = Counter()
    right: Counter[str] = Counter()
    wrong: list[Difference] = []
    for telling in told:
        count, differences = compare(telling, telling.derive(company))
        compared[telling.way] += count
        right[telling.way] += count - len(differences)
        wrong += differences
    return compared, right, wrong


def microseconds(told: Sequence[Telling], rounds: int) -> dict[str, float]:
    """Return the median time of reading and deriving one call, by way."""
    taken: dict[str, list[float]] = {way: [] for way in WAYS}
    for _ in range(rounds):
        for telling in told:
            begun = time.perf_counter()
            telling.derive()
            taken[telling.way].append((time.perf_counter() - begun) * 1e6)
    return {way: round(statistics.median(times), 1) for way, times in taken.items() if times}


def table(rows: Sequence[Sequence[object]]) -> str:
    head, *rest = [" | ".join(map(str, row)) for row in rows]
    rule = " | ".join(["---", *["---:"] * (len(rows[0]) - 1)])
    return "\n".join(f"| {line} |" for line in (head, rule, *rest))


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true", help="fewer rounds of timing")
    options = parser.parse_args()
    told = list(tellings())
    compared, right, wrong = measure(told, DIRECTORY)
    _, right_without, _ = measure(told, UNKNOWN_COMPANY)
    times = microseconds(told, 2 if options.quick else 10)
    if options.json:
        by_way = {
            way: {
                "compared": compared[way],
                "right": right[way],
                "rightWithoutDirectory": right_without[way],
                "microseconds": times[way],
            }
            for way in WAYS
        }
        print(json.dumps({"ways": by_way, "wrong": [str(one) for one in wrong]}))
        return 0
    rows: list[Sequence[object]] = [("way", "values", "right", "right without the directory", "us per call")]
    rows += [(way, compared[way], right[way], right_without[way], times[way]) for way in WAYS]
    totals = [sum(counter.values()) for counter in (compared, right, right_without)]
    print(table([*rows, ("total", *totals, "")]))
    print(
        f"\n{len({one.played.script for one in told})} scripts; fields: {', '.join(map(_api_name, COMPARED))}"
    )
    for difference in wrong:
        print(difference)
    return 1 if wrong else 0


def _api_name(name: str) -> str:
    words = API_NAMES.get(name, name).split("_")
    return words[0] + "".join(word.title() for word in words[1:])


if __name__ == "__main__":
    sys.exit(main())
