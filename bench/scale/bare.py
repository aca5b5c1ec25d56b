"""FastAPI alone: what returning the JSON of a call costs when nothing is looked up."""

import json
import os
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Response
from pydantic_core import to_json

app = FastAPI()
_BODY: Any = json.loads(Path(os.environ["BENCH_BODY"]).read_text())


@app.get("/to_json")
async def get_fast() -> Response:
    """Serialise without validation."""
    return Response(to_json(_BODY), media_type="application/json")


@app.get("/plain")
async def get_plain() -> Any:
    """Leave it to FastAPI."""
    return _BODY


@app.get("/healthz")
async def get_health() -> None:
    """Say that it is ready."""
