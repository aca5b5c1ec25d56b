"""The description of the API as the service serves it. Making it takes most of a second."""

from functools import cache
from typing import Any

from app.main import create_app
from app.settings import read_settings
from tests.conftest import SECRETS


@cache
def describe() -> dict[str, Any]:
    """Return the OpenAPI document. It is made once in a process: do not change it."""
    return create_app(read_settings(**SECRETS, database_url="sqlite:///unused.db")).openapi()
