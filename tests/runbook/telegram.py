"""Telegram's Bot API as far as a long-poll bot uses it: messages that an operator types, and what is answered."""

from __future__ import annotations

import json
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import parse_qsl

CHAT_ID = 4242
TELEGRAM_TOKEN = "123456:" + "r" * 35
POLL_S_MAX = 1.0


class TelegramServer:
    def __init__(self) -> None:
        self._updates: list[dict[str, Any]] = []
        self.sent: list[str] = []
        self._changed = threading.Condition()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
                path, _, query = self.path.partition("?")
                given = dict(parse_qsl(query))
                given |= json.loads(raw) if raw.startswith("{") else dict(parse_qsl(raw))
                self._answer(outer.answer(path.rpartition("/")[2], given))

            do_GET = do_POST

            def _answer(self, result: Any) -> None:
                content = json.dumps({"ok": True, "result": result}).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                with suppress(BrokenPipeError, ConnectionResetError):  # a service that stops does not wait for its poll
                    self.wfile.write(content)

            def log_message(self, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> TelegramServer:
        self._thread.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def type(self, text: str) -> None:
        """A message by the operator in the authorised chat, now."""
        with self._changed:
            id = len(self._updates) + 1
            who = {"id": CHAT_ID, "is_bot": False, "first_name": "Ann"}
            chat = {"id": CHAT_ID, "type": "private"}
            message = {"message_id": id, "date": int(time.time()), "chat": chat, "from": who, "text": text}
            self._updates.append({"update_id": id, "message": message})
            self._changed.notify_all()

    def answer(self, method: str, given: dict[str, Any]) -> Any:
        if method == "getUpdates":
            offset = int(given.get("offset") or 0)
            with self._changed:
                self._changed.wait_for(lambda: self._since(offset), min(float(given.get("timeout") or 0), POLL_S_MAX))
                return self._since(offset)
        if method == "sendMessage":
            self.sent.append(str(given.get("text")))
            return {"message_id": len(self.sent), "date": int(time.time()), "chat": {"id": CHAT_ID, "type": "private"}}
        return True

    def _since(self, offset: int) -> list[dict[str, Any]]:
        if offset < 0:
            return self._updates[offset:]
        return [update for update in self._updates if update["update_id"] >= offset]
