"""A client of the event stream in memory: the application as ASGI, in virtual time, read message by message."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
from attrs import define, field

TOKEN = "t" * 40


@define(eq=False)
class Client:
    status: int = 0
    headers: dict[str, str] = field(factory=dict)
    text: str = ""
    ended: trio.Event = field(factory=trio.Event)
    """The server has sent the last piece."""
    gone: trio.Event = field(factory=trio.Event)
    reads: bool = True
    """False: it takes no more, and the server's send waits."""
    _moved: trio.Event = field(factory=trio.Event)

    def messages(self, *types: str) -> list[dict]:
        """Whole messages so far; of these types."""
        found = []
        for block in self.text.split("\n\n")[:-1]:
            fields = dict(line.split(": ", 1) for line in block.split("\n") if not line.startswith(":"))
            if fields.get("event") in types or (not types and "event" in fields):
                found.append({**fields, "data": json.loads(fields["data"])})
        return found

    @property
    def last_id(self) -> str:
        ids = [line[4:] for line in self.text.split("\n") if line.startswith("id: ")]
        return ids[-1]

    async def wait(self, holds, within_s: float = 20.0) -> None:
        with trio.fail_after(within_s):
            while not holds(self):
                await self._moved.wait()

    async def send(self, message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode().lower(): value.decode() for name, value in message["headers"]}
            return
        while not self.reads:
            await trio.sleep(0.05)
        self.text += message["body"].decode()
        if not message.get("more_body", False):
            self.ended.set()
        self._moved.set()
        self._moved = trio.Event()
        await trio.lowlevel.checkpoint()


@asynccontextmanager
async def open_stream(app, path="/api/ui/stream", *, token=TOKEN, last_id=None) -> AsyncIterator[Client]:
    headers = [(b"host", b"localhost"), (b"authorization", f"Bearer {token}".encode())]
    if last_id is not None:
        headers.append((b"last-event-id", last_id.encode()))
    bare, _, query = path.partition("?")
    scope = {
        "type": "http", "http_version": "1.1", "asgi": {"version": "3.0"}, "method": "GET", "scheme": "http",
        "path": bare, "raw_path": bare.encode(), "query_string": query.encode(), "root_path": "", "extensions": {},
        "state": {}, "headers": headers, "client": ("127.0.0.1", 1), "server": ("localhost", 80),
    }
    client = Client()
    asked = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive():
        if asked:
            return asked.pop()
        await client.gone.wait()
        return {"type": "http.disconnect"}

    async with trio.open_nursery() as nursery:
        nursery.start_soon(app, scope, receive, client.send)
        yield client
        client.gone.set()
