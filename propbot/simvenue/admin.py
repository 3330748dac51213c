"""The admin port: what a test, or a person, may ask of the embedded venues. Plain HTTP and JSON, loopback only.

    POST   /faults {"venue","fault","after","count","params"}   201 {"id"}
    GET    /faults                                              what was injected, and how often it acted
    DELETE /faults[?id=]                                        200 {"cleared"}
    GET    /log[?since=N]                                       {"rows","next","ended"}: ask again with `next`
    GET    /market                                              {"ended"}: whether the recording came to its end
    POST   /keys {"venue"[,"api_key","api_secret"]}             201 {"api_key","api_secret"}: good beside the others
    GET    /keys                                                the good ones, and how long ago each was used
    DELETE /keys?venue=&api_key=                                200 {"revoked"}: it is refused from now on
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qs

import msgspec
import trio

from propbot.domain.instruments import Credentials, VenueId
from propbot.simvenue.faults import FAULTS, FaultBox, FaultError
from propbot.simvenue.keys import KEY_FORMAT, AccountKeys
from propbot.simvenue.server import Request, Response
from propbot.simvenue.trace import VenueTrace

_FIELDS = ("venue", "fault", "after", "count", "params")
_KEY_FIELDS = ("venue", "api_key", "api_secret")
_OWN_HOST = re.compile(r"(localhost|127\.0\.0\.1|\[::1\])(:[0-9]{1,5})?", re.IGNORECASE)


class Admin:
    """Answers the admin port's requests; `ended` tells whether the market is over, `make_keys` makes up a pair."""

    def __init__(
        self,
        faults: FaultBox,
        trace: VenueTrace,
        ended: Callable[[], bool],
        keys: Mapping[VenueId, AccountKeys],
        make_keys: Callable[[], Credentials],
    ) -> None:
        self._faults = faults
        self._trace = trace
        self._ended = ended
        self._keys = keys
        self._make_keys = make_keys

    async def answer(self, request: Request) -> Response:
        """Nothing for a web page: its browser reaches loopback too, be it by a name that resolves to it."""
        if "origin" in request.headers or not _OWN_HOST.fullmatch(request.headers.get("host", "")):
            return _error(403, "host", "only programs on this machine are answered, and Host localhost or 127.0.0.1")
        match request.method, request.path:
            case "POST", "/faults":
                return self._inject(request.body)
            case "GET", "/faults":
                return _json(200, {"faults": self._faults.rows(), "known": list(FAULTS)})
            case "DELETE", "/faults":
                return self._clear(_asked(request, "id"))
            case "GET", "/log":
                return self._log(_asked(request, "since"))
            case "GET", "/market":
                return _json(200, {"ended": self._ended()})
            case "POST", "/keys":
                return self._make_key(request.body)
            case "GET", "/keys":
                return self._list_keys()
            case "DELETE", "/keys":
                return self._revoke_key(_asked(request, "venue"), _asked(request, "api_key"))
            case _, "/faults" | "/log" | "/market" | "/keys":
                return _error(405, "method", f"{request.method} is not for {request.path}")
        return _error(404, "path", "there are /faults, /log, /market and /keys")

    def _make_key(self, body: bytes) -> Response:
        asked = _read(body, _KEY_FIELDS)
        if isinstance(asked, Response):
            return asked
        venue = asked.get("venue")
        keys = self._keys.get(VenueId(venue)) if isinstance(venue, str) else None
        if keys is None:
            return _error(400, "venue", f"there are {', '.join(self._keys)}")
        made = self._make_keys()
        pair = Credentials(asked.get("api_key", made.api_key), asked.get("api_secret", made.api_secret))
        for name, value in (("api_key", pair.api_key), ("api_secret", pair.api_secret)):
            if not isinstance(value, str) or not KEY_FORMAT.fullmatch(value):
                return _error(400, name, "8 to 128 letters and digits")
        keys.add(pair)
        return _json(201, {"api_key": pair.api_key, "api_secret": pair.api_secret})

    def _list_keys(self) -> Response:
        now_s = trio.current_time()
        rows = [
            {"venue": venue, "api_key": key, "used_ago_s": None if used_s is None else round(now_s - used_s, 3)}
            for venue, keys in self._keys.items() for key, used_s in keys.known().items()
        ]
        return _json(200, {"keys": rows})

    def _revoke_key(self, venue: str | None, api_key: str | None) -> Response:
        keys = self._keys.get(VenueId(venue or ""))
        if keys is None or not keys.revoke(api_key or ""):
            return _error(404, "venue" if keys is None else "api_key", "there is no such key")
        return _json(200, {"revoked": 1})

    def _inject(self, body: bytes) -> Response:
        asked = _read(body, _FIELDS)
        if isinstance(asked, Response):
            return asked
        try:
            fault_id = self._faults.inject(
                asked.get("venue", ""),
                asked.get("fault", ""),
                after=asked.get("after", 0),
                count=asked.get("count", 1),
                params=asked.get("params"),
            )
        except FaultError as error:
            return _error(400, error.field, str(error))
        return _json(201, {"id": fault_id})

    def _clear(self, fault_id: str | None) -> Response:
        cleared = self._faults.clear(fault_id)
        if fault_id is not None and not cleared:
            return _error(404, "id", f"there is no fault {fault_id!r}")
        return _json(200, {"cleared": cleared})

    def _log(self, since: str | None) -> Response:
        if since is not None and not (since.isdecimal() and len(since) < 20):
            return _error(400, "since", "the `next` of an earlier answer")
        rows, number = self._trace.since(int(since or 0))
        return _json(200, {"rows": rows, "next": number, "ended": self._ended()})


def _read(body: bytes, known: tuple[str, ...]) -> dict[str, Any] | Response:
    """The object in `body`, or the refusal of it."""
    try:
        asked = msgspec.json.decode(body)
    except msgspec.DecodeError as error:
        return _error(400, "body", f"not JSON: {error}")
    if not isinstance(asked, dict):
        return _error(400, "body", f"an object with {', '.join(known)}")
    unknown = [name for name in asked if name not in known]
    if unknown:
        return _error(400, unknown[0], f"unknown; there are {', '.join(known)}")
    return asked


def _asked(request: Request, name: str) -> str | None:
    return parse_qs(request.query).get(name, [None])[0]


def _json(status: int, content: Any) -> Response:
    return Response(status, msgspec.json.encode(content))


def _error(status: int, field: str, message: str) -> Response:
    return _json(status, {"error": {"field": field, "message": message, "known_faults": list(FAULTS)}})
