"""Signatures agree with the specification and with the official libraries of Python and Node."""

import json
import re
import secrets
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook

from app.push.payloads.signatures import headers_of, secret_key, secret_text, sign

# https://github.com/standard-webhooks/standard-webhooks/blob/main/libraries/python/tests/test_webhooks.py
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
MESSAGE_ID, TIMESTAMP = "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330
BODY = b'{"test": 2432232314}'
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="

PAGE = (Path(__file__).parents[3] / "docs/api/webhooks.md").read_text()
_NODE = """
const { secret, headers, body } = JSON.parse(require("node:fs").readFileSync(0, "utf8"));
process.stdout.write(String(verify(secret, headers, body)));
"""


def code_of_the_page(language: str) -> str:
    """The receiver's code on the page for authors."""
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return str(found)


def signed_now(body: bytes, secret: str = SECRET) -> dict[str, str]:
    return headers_of([secret_key(secret)], "4711-9f8e7d6c5b4a", int(datetime.now(UTC).timestamp()), body)


def test_the_vector_of_the_official_libraries() -> None:
    assert sign([secret_key(SECRET)], MESSAGE_ID, TIMESTAMP, BODY) == SIGNATURE


def test_the_library_signs_in_the_same_way() -> None:
    at = datetime.fromtimestamp(TIMESTAMP, tz=UTC)
    assert Webhook(SECRET).sign(MESSAGE_ID, at, BODY.decode()) == SIGNATURE


def test_each_of_several_secrets_verifies() -> None:
    now = int(datetime.now(UTC).timestamp())
    known = [secret_text(secrets.token_bytes(32)) for _ in range(2)]
    headers = headers_of([secret_key(one) for one in known], "4711-9f8e7d6c5b4a", now, BODY)
    for one in known:
        assert Webhook(one).verify(BODY, headers) == json.loads(BODY)
    with pytest.raises(Exception, match="No matching signature"):
        Webhook(secret_text(secrets.token_bytes(32))).verify(BODY, headers)


CHANGES: dict[str, Any] = {
    "ours": {},
    "another body": {"body": BODY.decode() + " "},
    "another secret": {"secret": "whsec_" + "A" * 43 + "="},
    "an old message": {"headers": headers_of([secret_key(SECRET)], MESSAGE_ID, TIMESTAMP, BODY)},
}


@pytest.mark.parametrize("change", CHANGES)
def test_the_python_of_the_page_verifies(change: str) -> None:
    scope: dict[str, Any] = {}
    exec(code_of_the_page("python"), scope)  # noqa: S102 - our own page
    given = {"secret": SECRET, "headers": signed_now(BODY), "body": BODY.decode(), **CHANGES[change]}
    assert scope["verify"](given["secret"], given["headers"], given["body"].encode()) is (change == "ours")


@pytest.mark.skipif(shutil.which("node") is None, reason="no node")
@pytest.mark.parametrize("change", CHANGES)
def test_the_javascript_of_the_page_verifies(change: str) -> None:
    given = {"secret": SECRET, "headers": signed_now(BODY), "body": BODY.decode(), **CHANGES[change]}
    code = code_of_the_page("javascript") + _NODE
    done = subprocess.run(
        ["node", "-e", code], input=json.dumps(given), text=True, capture_output=True, check=True
    )
    assert done.stdout == str(change == "ours").lower()


@pytest.mark.parametrize(
    "text",
    ["", "whsec_", "whsec_%%%", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_c2hvcnQ=", "whsec_" + "A" * 400],
)
def test_what_is_no_secret_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not whsec_"):
        secret_key(text)
