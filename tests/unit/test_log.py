import json
import subprocess
import sys

from app.log import mask


def test_phone_numbers_and_secrets_are_masked() -> None:
    line = mask(
        None,
        "info",
        {
            "event": "x",
            "why": "no route to +15550179001 or 5550179001",
            "token": "abc",
            "header": "Bearer abc.def",
        },
    )
    assert line["why"] == "no route to +155•••01 or 5550•••01"
    assert line["token"] == "***"
    assert line["header"] == "Bearer ***"


def test_times_and_ids_stay_readable() -> None:
    line = mask(
        None, "info", {"event": "x", "expires": "2026-03-10T18:07:41.085Z", "note": "session 1229016182016"}
    )
    assert line["expires"] == "2026-03-10T18:07:41.085Z"
    assert line["note"] == "session 1229016182016"


_LOGS_OF_A_LIBRARY = """
import logging
from app import log
log.configure("info", "json")
try:
    raise ConnectionError("no route to +15550179001")
except ConnectionError:
    logging.getLogger("sqlalchemy.pool").error("call of %s failed", "+15550179001", exc_info=True)
logging.getLogger("httpx").info("sent with Bearer abc.def")
logging.getLogger("httpx").warning("refused with Bearer abc.def")
"""


def test_what_libraries_log_has_the_same_form_and_masks() -> None:
    made = subprocess.run(
        [sys.executable, "-c", _LOGS_OF_A_LIBRARY], capture_output=True, text=True, check=True
    )
    first, second = (json.loads(line) for line in made.stderr.splitlines())
    assert (first["level"], first["logger"]) == ("error", "sqlalchemy.pool")
    assert first["event"] == "call of +155•••01 failed"
    assert first["exception"].endswith("no route to +155•••01")
    assert second["event"] == "refused with Bearer ***"
