"""HEAD, and which methods a path has."""

from tests.fakes.reader_stage import Stage


async def test_head_returns_the_headers_of_get(stage: Stage) -> None:
    await stage.know("3019664700")
    (listed,) = (await stage.reader.get("/v1/calls")).json()["data"]
    paths = ["/v1/calls", f"/v1/calls/{listed['id']}", f"/v1/calls/{listed['id']}/records", "/v1/changes",
             "/v1/call-log", "/v1/active-calls", "/v1/recordings/3019664700", "/v1/ops/summary"]  # fmt: skip
    for path in paths:
        got, head = await stage.reader.get(path), await stage.reader.head(path)
        assert (head.status_code, head.content) == (200, b""), path
        for name in ("content-type", "content-length", "etag", "cache-control"):
            if path != "/v1/ops/summary":  # tells the time
                assert head.headers.get(name) == got.headers.get(name), path


async def test_head_is_refused_where_get_would_be(stage: Stage) -> None:
    missing = await stage.reader.head("/v1/calls/1229016182016")
    assert (missing.status_code, missing.content) == (404, b"")
    assert (await stage.reader.head("/v1/calls", params={"limit": 0})).status_code == 422
    assert (await stage.reader.head("/v1/accounts/invitations")).status_code == 405
    endless = await stage.reader.head("/v1/changes/stream")
    assert endless.status_code == 405


async def test_a_wrong_method_gets_the_allowed_ones(stage: Stage) -> None:
    assert (await stage.reader.delete("/v1/calls")).headers["allow"] == "GET, HEAD"
    assert (await stage.reader.get("/v1/accounts/invitations")).headers["allow"] == "POST"
    assert (await stage.reader.put("/v1/changes/stream")).headers["allow"] == "GET"
