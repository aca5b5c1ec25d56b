"""An S3-compatible store on loopback, as much of it as an archive needs: PUT whole or in parts, HEAD, GET
with a range."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route


@dataclass
class FakeBucket:
    """`files` by `bucket/path`; `refuses` answers everything 403."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    refuses: bool = False
    parts: dict[int, bytes] = field(default_factory=dict)

    async def answer(self, request: Request) -> Response:
        name = request.path_params["name"]
        if self.refuses:
            return Response("<Error><Code>AccessDenied</Code></Error>", 403, media_type="application/xml")
        if "uploads" in request.query_params or "uploadId" in request.query_params:
            return await self._take_parts(request, name)
        if request.method == "PUT":
            self.files[name] = await request.body()
            return Response(headers={"ETag": '"1"'})
        if name not in self.files:
            return Response("<Error><Code>NoSuchKey</Code></Error>", 404, media_type="application/xml")
        return self._give(self.files[name], request.headers.get("range"))

    async def _take_parts(self, request: Request, name: str) -> Response:
        number = request.query_params.get("partNumber")
        if number is not None:
            self.parts[int(number)] = await request.body()
            return Response(headers={"ETag": f'"{number}"'})
        if "uploads" in request.query_params:
            begun = "<InitiateMultipartUploadResult><UploadId>u1</UploadId></InitiateMultipartUploadResult>"
            return Response(begun, media_type="application/xml")
        self.files[name] = b"".join(self.parts[number] for number in sorted(self.parts))
        done = '<CompleteMultipartUploadResult><ETag>"1"</ETag></CompleteMultipartUploadResult>'
        return Response(done, media_type="application/xml")

    @staticmethod
    def _give(content: bytes, asked: str | None) -> Response:
        headers = {"ETag": '"1"', "Last-Modified": "Tue, 10 Mar 2026 18:09:00 GMT"}
        if asked is None:
            return Response(content, headers=headers)
        first, last = (int(end) for end in asked.removeprefix("bytes=").split("-"))
        told = {"Content-Range": f"bytes {first}-{last}/{len(content)}"}
        return Response(content[first : last + 1], 206, headers | told)


@asynccontextmanager
async def bucket() -> AsyncIterator[FakeBucket]:
    """Serve a bucket while the block runs."""
    made = FakeBucket()
    app = Starlette(routes=[Route("/{name:path}", made.answer, methods=["GET", "HEAD", "POST", "PUT"])])
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_config=None, access_log=False, lifespan="off")
    server = uvicorn.Server(config)
    task = asyncio.create_task(server._serve())
    try:
        while not server.started:  # noqa: ASYNC110 - it sets a flag, not an event
            await asyncio.sleep(0.01)
        made.url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        yield made
    finally:
        server.should_exit = True
        await task
