"""GET /api/ui/stream: what happens, as server-sent events, for a console that is left open and for `events --follow`.

    overview   GET /api/ui/status/overview, when it changes and every few seconds
    event      an item of GET /api/ui/events, as soon as it is durable
    fill       an item of GET /api/ui/fills, likewise
    incident   an incident as GET /api/ui/incidents shows it, when it opens and with each line of its timeline
    spread     the newest item of GET /api/ui/spreads

Events and fills are read from the ledger after the place that this client has reached, a bounded piece at a time, and
the next piece only once the last one has left: nothing is queued for anybody, and who reads slowly falls behind alone.
Each of them carries that place as its `id:`. A client that comes back with it as Last-Event-ID goes on exactly there.
The others are levels: the newest is sent, what was in between is not.

A stream ends by itself when the service stops, and when its token has been taken off the list.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from math import inf

import trio
from attrs import define, field, frozen
from quart import Blueprint, Response, request
from quart_schema import document_headers, document_querystring

from propbot.api import present, rows
from propbot.api.auth import Auth
from propbot.api.bodies import STREAM_TYPES, StreamArgs, StreamHeaders
from propbot.api.describe import describe
from propbot.api.lists import FILL
from propbot.api.long_answers import LongBody
from propbot.api.present import Json
from propbot.api.query import unknown_names
from propbot.api.replies import ApiError, json_text, said_of
from propbot.domain.errors import LedgerError
from propbot.domain.news import Place
from propbot.domain.status import Incident
from propbot.status.desk import Desk

STREAMS_MAX = 10
LOOK_EVERY_S = 0.25
"""Looking is a few comparisons in memory; the ledger is asked only when it has grown."""
CHECK_EVERY_S = 1.0
"""How often the token is looked up again; the list itself is read every half second."""
OVERVIEW_EVERY_S = 5.0
"""Its measurements move all the time; what matters in it is sent at once."""
OVERVIEW_KEPT_S = 0.2
"""One made for one stream is good enough for the others that long."""
HEARTBEAT_EVERY_S = 15.0
NEWS_MAX = 100
"""Events, and fills, in one piece: some tens of kilobytes."""
READ_S_MAX = 2.0
"""A ledger that hangs does not keep overviews from being sent."""
SEND_S_MAX = 5.0
"""Who takes longer to read one piece is cut; whoever comes back goes on where they were."""
BEGIN_S_MAX = 5.0
"""A place that was given to a client who went away before the first byte is free again after that."""
_HASH_DIGITS = 16
_TOO_MANY = f"{STREAMS_MAX} event streams are open already, which is as many as there may be: close one"
_PLACE = "42-17-0a1b2c3d4e5f6071"
"""Of the example."""


def stream_routes(desk: Desk, auth: Auth, closing: trio.Event, slots: Slots) -> Blueprint:
    routes = Blueprint("stream", __name__)
    overviews = Overviews(desk)

    @routes.get("/api/ui/stream")
    @describe(
        texts={"text/event-stream": greeting(_PLACE) + message("fill", json_text(FILL), _PLACE)},
        refuses=(503,),
        also={429: (f"{STREAMS_MAX} event streams are open already.", _TOO_MANY)},
    )
    @document_querystring(StreamArgs)
    @document_headers(StreamHeaders)
    async def stream() -> Response:
        """What happens, as server-sent events: overview, event, incident, spread, fill.

        The `data:` of each is an item of the list of that name. `Last-Event-ID` goes on after that event and fill,
        without loss or repetition. It ends when the service stops, and when its token is taken off the list."""
        types = read_types(request.args)
        last_id = request.headers.get("Last-Event-ID")
        if request.method == "HEAD":
            return Response("", content_type="text/event-stream")
        with trio.fail_after(READ_S_MAX):
            place = await desk.newest_place() if last_id is None else await find_place(desk, last_id)
        following = Following(desk, overviews, types, place, resumed=last_id is not None)
        lets_in = Watching(auth, request.headers.get("Authorization"))
        response = Response(
            StreamBody(following, lets_in, slots.take(), closing), content_type="text/event-stream",
            headers={"X-Accel-Buffering": "no"},  # a proxy in front must not keep it back
        )
        response.timeout = None
        return response

    return routes


def read_types(args: Mapping[str, str]) -> frozenset[str]:
    asked = args.get("types")
    problems = unknown_names(args, StreamArgs)
    chosen = frozenset(STREAM_TYPES) if asked is None else frozenset(asked.split(","))
    if not chosen <= frozenset(STREAM_TYPES):
        problems["types"] = f"some of {','.join(STREAM_TYPES)}, with commas"
    if problems:
        raise ApiError(422, said_of(problems), fields=problems)
    return chosen


# --- places


def id_of(place: Place) -> str:
    """Opaque to clients. The hash's beginning tells this ledger from another one."""
    return f"{place.event_id}-{place.fill_seq}-{place.event_hash[:_HASH_DIGITS]}"


async def find_place(desk: Desk, last_id: str) -> Place:
    """ApiError 422 for an id that this ledger has not given out."""
    event_id, _, rest = last_id.partition("-")
    fill_seq, _, hash_begin = rest.partition("-")
    place = None
    if all(part.isascii() and part.isdigit() and len(part) <= 18 for part in (event_id, fill_seq)):
        place = await desk.find_place(int(event_id), int(fill_seq))
    if place is None or hash_begin != place.event_hash[:_HASH_DIGITS]:
        problems = {"Last-Event-ID": "not an id that this ledger has given out; connect without it"}
        raise ApiError(422, said_of(problems), fields=problems)
    return place


# --- how many


@define(eq=False)
class Slot:
    """One stream's place among the few. `leave` frees it, once."""

    slots: Slots
    taken_at_s: float
    begun: bool = False

    def begin(self) -> None:
        self.begun = True
        self.slots.taken.add(self)

    def leave(self) -> None:
        self.slots.taken.discard(self)


@define(eq=False)
class Slots:
    taken: set[Slot] = field(factory=set)

    def take(self) -> Slot:
        """ApiError 429 when all are taken."""
        now_s = trio.current_time()
        self.taken -= {slot for slot in self.taken if not slot.begun and now_s - slot.taken_at_s > BEGIN_S_MAX}
        if len(self.taken) >= STREAMS_MAX:
            raise ApiError(429, _TOO_MANY, headers={"Retry-After": "5"})
        slot = Slot(self, now_s)
        self.taken.add(slot)
        return slot


# --- what is sent


@define(eq=False)
class Overviews:
    """The overview as text, made once for all streams that want it within a moment."""

    desk: Desk
    _text: str = ""
    _made_at_s: float = -inf
    _core: object = None

    def core(self) -> object:
        """What matters in it: when this is another one, it is sent at once. Cheap: it is asked for all the time."""
        desk = self.desk
        healths = tuple((each.id, each.status, each.since_ns) for each in desk.board.components())
        return (desk.mode(), desk.safe_mode(), desk.dry_run_only(), desk.hold(), healths)

    def text(self, core: object) -> str:
        now_s = trio.current_time()
        if core != self._core or now_s - self._made_at_s >= OVERVIEW_KEPT_S:
            self._text = json_text(present.overview(self.desk))
            self._made_at_s, self._core = now_s, core
        return self._text


@define(eq=False)
class Following:
    """One client's way through what happens. `collect` is the next piece, empty when there is nothing new."""

    desk: Desk
    overviews: Overviews
    types: Collection[str]
    place: Place
    resumed: bool
    behind: bool = False
    """The ledger had more than one piece could take."""
    _core: object = None
    _overview_at_s: float = -inf
    _incidents: dict[int, Incident] = field(factory=dict)
    _begun: bool = False
    _spread_seq: int = 0

    async def collect(self) -> str:
        """TooSlowError and LedgerError stay inside: what the ledger has will come when it answers again."""
        parts = [] if self._begun else [greeting(id_of(self.place))]
        if "overview" in self.types:
            parts += self._overview()
        if "incident" in self.types:
            parts += self._new_incidents()
        if "spread" in self.types:
            parts += self._spread()
        self._begun = True
        if "event" in self.types or "fill" in self.types:
            parts += await self._news()
        return "".join(parts)

    def _overview(self) -> list[str]:
        core, now_s = self.overviews.core(), trio.current_time()
        if core == self._core and now_s - self._overview_at_s < OVERVIEW_EVERY_S:
            return []
        self._core, self._overview_at_s = core, now_s
        return [message("overview", self.overviews.text(core))]

    def _new_incidents(self) -> list[str]:
        """Those that are others than before. At first: the open ones, and for who comes back those that moved since."""
        now = {incident.id: incident for incident in reversed(self.desk.incidents.all())}
        if self._begun:
            new = [each for id, each in now.items() if self._incidents.get(id) is not each]
        else:
            new = [each for each in now.values() if each.open or (self.resumed and self._moved_since(each))]
        self._incidents = now
        return [message("incident", json_text(present.incident(each))) for each in new]

    def _moved_since(self, incident: Incident) -> bool:
        return bool(incident.steps) and incident.steps[-1].ts_ns >= self.place.event_ns

    def _spread(self) -> list[str]:
        newest = self.desk.spreads.newest
        if newest is None or newest.seq == self._spread_seq:
            return []
        self._spread_seq = newest.seq
        return [message("spread", json_text(present.spread_point(newest)))]

    async def _news(self) -> list[str]:
        if not self.behind and self.desk.newest_event_id() <= self.place.event_id:
            return []
        try:
            with trio.fail_after(READ_S_MAX):
                news = await self.desk.news(self.place, NEWS_MAX)
        except (LedgerError, trio.TooSlowError):
            return []
        self.behind = NEWS_MAX in (len(news.events), len(news.fills))
        parts: list[str] = []
        for event in news.events:
            self.place = Place(event.id, event.hash, event.ts_ns, self.place.fill_seq)
            parts += self._placed("event", rows.event(event))
        for seq, fill in news.fills:
            self.place = Place(self.place.event_id, self.place.event_hash, self.place.event_ns, seq)
            parts += self._placed("fill", rows.fill(fill))
        return parts

    def _placed(self, type: str, item: Json) -> list[str]:
        return [message(type, json_text(item), id_of(self.place))] if type in self.types else []


def greeting(id: str) -> str:
    """The place at once, so that nothing is lost to a client that is cut before the first message."""
    return f"retry: 2000\nid: {id}\n\n"


def message(type: str, data: str, id: str | None = None) -> str:
    """JSON is on one line, so that `data:` is one too."""
    return f"event: {type}\ndata: {data}\n\n" if id is None else f"id: {id}\nevent: {type}\ndata: {data}\n\n"


# --- the answer


@frozen
class Watching:
    """Whether the client would still be let in."""

    auth: Auth
    authorization: str | None = field(repr=False)

    def holds(self) -> bool:
        return self.auth.still_lets_in(self.authorization)


class StreamBody(LongBody):
    """Looks a few times a second, and sends what is new. It has no task of its own: between two pieces nothing runs."""

    def __init__(self, following: Following, watching: Watching, slot: Slot, closing: trio.Event) -> None:
        self._following = following
        self._watching = watching
        self._slot = slot
        self._closing = closing
        self._sent_at_s = inf
        self._checked_at_s = trio.current_time()
        self._heartbeat_at_s = trio.current_time()

    async def __aenter__(self) -> StreamBody:
        self._slot.begin()
        return self

    def leave(self) -> None:
        self._slot.leave()

    async def make_piece(self) -> bytes | None:
        """None: it is over; the client may come back at once, but to a service that stops or with a token that is
        none any more."""
        if trio.current_time() - self._sent_at_s > SEND_S_MAX:
            return None
        while not self._closing.is_set():
            if not self._still_lets_in():
                return None
            text = await self._following.collect() + self._heartbeat()
            if text:
                self._sent_at_s = trio.current_time()
                return text.encode()
            with trio.move_on_after(0 if self._following.behind else LOOK_EVERY_S):
                await self._closing.wait()
        return None

    def _still_lets_in(self) -> bool:
        now_s = trio.current_time()
        if now_s - self._checked_at_s < CHECK_EVERY_S:
            return True
        self._checked_at_s = now_s
        return self._watching.holds()

    def _heartbeat(self) -> str:
        now_s = trio.current_time()
        if now_s - self._heartbeat_at_s < HEARTBEAT_EVERY_S:
            return ""
        self._heartbeat_at_s = now_s
        return ": heartbeat\n\n"
