"""Errors as problem documents (RFC 9457): their types, their responses, and the handlers of exceptions."""

from app.api.problems.handlers import MOST_ERRORS, install
from app.api.problems.responses import (
    MEDIA_TYPE,
    caller_error_response,
    open_problem_responses,
    problem_body,
    problem_response,
    problem_responses,
)
from app.api.problems.types import PROBLEM_TYPES, ProblemCode

__all__ = [
    "MEDIA_TYPE",
    "MOST_ERRORS",
    "PROBLEM_TYPES",
    "ProblemCode",
    "caller_error_response",
    "install",
    "open_problem_responses",
    "problem_body",
    "problem_response",
    "problem_responses",
]
