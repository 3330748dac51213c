"""httpx over the network seam: its requests go through `http1`'s connections, so that they run in memory and in virtual
time as orders do, and a deadline covers the whole exchange.

httpx logs each URL at INFO, and its errors carry the request. What must not be told there (a token in the path) is
therefore not in the URL at all: `open_http_client` puts it on the wire as its `secret_path`.
"""

from __future__ import annotations

import httpx

from propbot.domain.dialect import HttpCall
from propbot.kit.http1 import AnswerLost, HttpClient, NotSent

OWN_HEADERS = frozenset({"host", "user-agent", "accept", "accept-encoding", "connection", "content-length"})
"""Those that the client below writes itself, or does without."""


class NetworkTransport(httpx.AsyncBaseTransport):
    """For the one base URL of `client`, which outlives it. The read timeout of a request is its only deadline.

    httpx.ConnectError where no byte of the request left, httpx.ReadError where the answer is lost.
    """

    def __init__(self, client: HttpClient) -> None:
        self._client = client

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        headers = tuple((name, value) for name, value in request.headers.items() if name not in OWN_HEADERS)
        target = request.url.raw_path.decode("ascii")
        call = HttpCall(request.method, target, headers, await request.aread())
        timeout_s = request.extensions["timeout"]["read"]
        assert timeout_s is not None, "every request has a deadline"
        try:
            reply = await self._client.request(call, timeout_s=timeout_s)
        except NotSent as error:
            raise httpx.ConnectError(str(error)) from None
        except AnswerLost as error:
            raise httpx.ReadError(str(error)) from None
        return httpx.Response(reply.status, headers=dict(reply.headers), content=reply.body)
