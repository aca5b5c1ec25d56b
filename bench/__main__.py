"""Runs every benchmark, one after the other: `python -m bench [--json] [--quick]`."""

import subprocess
import sys

BENCHES = ("bench.truth", "bench.planner", "bench.reconciliation", "bench.intake", "bench.scale")


def main() -> int:
    """Pass the options on to each; fail when one of them failed, after all have run."""
    codes = [
        subprocess.run([sys.executable, "-m", bench, *sys.argv[1:]], check=False).returncode
        for bench in BENCHES
    ]
    return max(codes)


if __name__ == "__main__":
    sys.exit(main())
