"""The description of the last release, with which tests compare the current one.

python -m tests.description.released    write it anew, at a release
"""

import json
from pathlib import Path

from app.main import create_app
from app.settings import read_settings
from tests.conftest import SECRETS
from tests.description.compatibility import shape_of
from tests.description.containment import Json

PATH = Path(__file__).with_name("released.json")


def describe() -> Json:
    """Return the current description."""
    return create_app(read_settings(**SECRETS, database_url="sqlite:///unused.db")).openapi()


def read() -> Json:
    """Return the shape of the released description."""
    released: Json = json.loads(PATH.read_text())
    return released


if __name__ == "__main__":
    PATH.write_text(json.dumps(shape_of(describe()), indent=1, ensure_ascii=False) + "\n")
