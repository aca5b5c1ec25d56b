"""Errors as problem documents (RFC 9457): their types, the responses, and the handlers that turn errors into them."""

from app.api.problems.handlers import (
    KINDS,
    MEDIA_TYPE,
    draw_caller_error,
    install,
    problem_body,
    problem_response,
    problem_responses,
)

__all__ = [
    "KINDS",
    "MEDIA_TYPE",
    "draw_caller_error",
    "install",
    "problem_body",
    "problem_response",
    "problem_responses",
]
