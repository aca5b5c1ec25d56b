"""Names of calls as callers send them."""

from typing import Annotated

from fastapi import Path
from pydantic import StringConstraints

from app.ids import MAX_OUTSIDE_ID

NAME_PATTERN = r"^[!-~]+$"
"""Of all names: printable ASCII without spaces."""

Name = Annotated[str, StringConstraints(min_length=1, max_length=160, pattern=NAME_PATTERN)]
"""Any name of a call. No call has a name with other characters, so those need no query."""

CallName = Annotated[
    str,
    Path(
        max_length=160,
        pattern=NAME_PATTERN,
        description="Any name of the call: our id, its `telephonySessionId`, or its `sessionId`.",
        examples=["1229016182016"],
    ),
]
AttachableName = Annotated[
    str,
    Path(
        max_length=MAX_OUTSIDE_ID,
        pattern=NAME_PATTERN,
        description="Any name of the call: our id, its `telephonySessionId`, or its `sessionId`. Not `0`, "
        "which RingCentral reports for all conferences.",
        examples=["1229016182016"],
    ),
]
"""The name of a call that need not be known yet."""
