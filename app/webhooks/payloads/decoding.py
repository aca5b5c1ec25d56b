"""Decodes the body of a delivery, for the intake, the fold and the replay. Does no input or output.

The fast decoder reads nearly all bodies. What it refuses (half of a surrogate pair, bytes that are not UTF-8,
a byte order mark, NaN, deep nesting, a very long integer), and what cannot be stored, goes to
`app.values.storable.decode_json`, which also reads RingCentral's responses.
"""

import re
from typing import Any

from pydantic_core import from_json

from app.values.storable import decode_json

_ESCAPED_NUL = re.compile(rb"\\u0000")


def decode_body(body: bytes) -> Any:
    """Decode the body of a delivery. Raises BadJson when it is not JSON."""
    if b"\\u" in body and _ESCAPED_NUL.search(body):
        return decode_json(body)
    try:
        return from_json(body, allow_inf_nan=False)
    except ValueError:
        return decode_json(body)
