"""What `aftercall check` finds, and the lines that it prints."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.accounts.credentials import OWN
from app.ops.problems.model import ProblemToFix, Subject

_LABELS = {Subject.REACH: "RingCentral", Subject.SWEEP: "Call Log", Subject.RATE_LIMIT: "rate limit"}
"""The subjects that a line names differently."""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One line. `detail` says what was found and, if it is not `ok`, what to do."""

    subject: str
    ok: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Findings:
    """What was checked: what passed, and the problems that RingCentral's responses show."""

    passed: tuple[CheckResult, ...] = ()
    problems: tuple[ProblemToFix, ...] = ()


def merge_lines(passed: Sequence[CheckResult], problems: Sequence[ProblemToFix]) -> list[CheckResult]:
    """Return a line for each check. A subject with a problem has no line that says it passed."""
    failed = [CheckResult(_label(problem), False, _describe(problem)) for problem in problems]
    subjects = {line.subject for line in failed}
    return [line for line in passed if line.subject not in subjects] + failed


def _label(problem: ProblemToFix) -> str:
    subject = _LABELS.get(problem.about, problem.about.value)
    is_own = problem.credentials in (None, OWN)
    return subject if is_own else f"account {problem.account_id}, {problem.credentials}: {subject}"


def _describe(problem: ProblemToFix) -> str:
    detail = problem.detail if problem.detail.endswith((".", "!", "?")) else f"{problem.detail}."
    return f"{problem.title}. {detail} {problem.todo}"
