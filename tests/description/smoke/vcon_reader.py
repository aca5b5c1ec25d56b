"""A call as a vCon, read by the package `vcon`: what it knows of the syntax, which is up to 0.3."""

import json
import os
from datetime import datetime

import httpx
from vcon import Vcon


def read(path: str, accept: str = "application/json") -> str:
    headers = {"Authorization": f"Bearer {os.environ['AFTERCALL_API_KEY']}", "Accept": accept}
    response = httpx.get(os.environ["AFTERCALL_URL"] + path, headers=headers)
    assert response.headers["content-type"].startswith(accept), response.headers
    return response.text


call = json.loads(read("/v1/calls?limit=1"))["data"][0]
text = read(f"/v1/calls/{call['id']}", "application/vcon+json")
vcon, plain = Vcon.build_from_json(text), json.loads(text)
assert vcon.vcon == plain["vcon"] == "0.4.0"
assert vcon.uuid == plain["uuid"]
numbers = [getattr(party, "tel", None) for party in vcon.parties]
assert numbers == [party.get("tel") for party in plain["parties"]]
assert any(numbers)
assert [one["type"] for one in vcon.dialog] == [one["type"] for one in plain["dialog"]]
assert vcon.dialog
assert datetime.fromisoformat(vcon.created_at) == datetime.fromisoformat(plain["created_at"])
