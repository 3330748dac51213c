"""The private stream over memory streams, as both venues have it: listen key or signed subscription, up and down."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
import trio
from attrs import define, field

from propbot.domain.dialect import HttpCall, HttpReply
from propbot.domain.errors import RateLimited, VenueRetry
from propbot.domain.instruments import Credentials, Endpoints
from propbot.domain.orders import AccountChanged, OrderReport, OrderState, PrivateEvent
from propbot.feeds.private import PrivateFeed
from propbot.feeds.session import HEALTHY_S
from propbot.kit.clock import VirtualClock
from propbot.kit.supervise import Backoff
from propbot.venues.binance_spot import BinanceSpot
from propbot.venues.binance_um import BinanceUm

if TYPE_CHECKING:
    from tests.unit.feeds.conftest import Supervisor, WsVenue

KEYS = Credentials("key", "secret")
OTHER_KEYS = Credentials("other key", "other secret")
READY = '{"id":"private","status":200,"result":{"subscriptionId":0}}'
EXPIRED = '{"e":"listenKeyExpired","E":1,"listenKey":"L1"}'
FILL = json.dumps(
    {
        "e": "ORDER_TRADE_UPDATE", "E": 1, "T": 1, "o": {
            "s": "BTCUSDT", "c": "pb1", "S": "BUY", "o": "LIMIT", "f": "IOC", "q": "0.01", "p": "60000", "ap": "60000",
            "sp": "0", "x": "TRADE", "X": "FILLED", "i": 7, "l": "0.01", "z": "0.01", "L": "60000", "n": "0.1",
            "N": "USDT", "T": 1, "t": 9, "b": "0", "a": "0", "m": False, "R": False, "wt": "CONTRACT_PRICE",
            "ot": "LIMIT", "ps": "BOTH", "cp": False, "rp": "0", "pP": False, "V": "NONE", "pm": "NONE", "gtd": 0,
        },
    }
)  # fmt: skip
ACCOUNT = '{"e":"ACCOUNT_UPDATE","E":1,"T":1,"a":{"m":"ORDER","B":[],"P":[]}}'


def reply(body: object, status: int = 200) -> HttpReply:
    return HttpReply(status, {}, json.dumps(body).encode())


@define(eq=False)
class Desk:
    feed: PrivateFeed
    events: list[PrivateEvent] = field(factory=list)
    states: list[str] = field(factory=list)
    problems: list[str] = field(factory=list)
    calls: list[tuple[str, float]] = field(factory=list)
    answers: dict[str, HttpReply | Exception] = field(factory=dict)
    """By method; without one, the n-th listen key."""

    async def ask(self, call: HttpCall) -> HttpReply:
        await trio.lowlevel.checkpoint()
        self.calls.append((call.method, round(trio.current_time(), 1)))
        answer = self.answers.get(call.method)
        if isinstance(answer, Exception):
            raise answer
        made = [method for method, _ in self.calls if method == "POST"]
        return answer if answer is not None else reply({"listenKey": f"L{len(made)}"})


StartDesk = Callable[[BinanceUm | BinanceSpot], Desk]


@pytest.fixture
def start_desk(venue: WsVenue, supervisor: Supervisor) -> StartDesk:
    def start(dialect: BinanceUm | BinanceSpot) -> Desk:
        endpoints = Endpoints("http://venue", "ws://venue", "ws://venue/ws-api/v3")
        feed = PrivateFeed(
            venue.network, endpoints, dialect, lambda call: desk.ask(call), lambda: 1_700_000_000_000, VirtualClock(0),
            lambda event: desk.events.append(event), lambda: desk.states.append("up"),
            lambda reason: desk.states.append(reason), lambda text: desk.problems.append(text),
        )
        desk = Desk(feed)
        supervisor.run(feed.run_session, Backoff(random.Random(2)))
        return desk

    return start


@pytest.fixture
def um(start_desk: StartDesk) -> Desk:
    return start_desk(BinanceUm(KEYS))


async def test_um_asks_for_a_listen_key_and_is_up_once_connected(
    venue: WsVenue, um: Desk, autojump_clock: trio.testing.MockClock
) -> None:
    session = await venue.session()
    assert "L1" in session.target
    assert session.target.startswith("/private/")
    assert (um.states, um.feed.up, um.calls) == (["up"], True, [("POST", 0.0)])
    await session.say(FILL, ACCOUNT)
    report, changed = um.events
    assert isinstance(report, OrderReport)
    assert (report.client_order_id, report.state, len(report.fills)) == ("pb1", OrderState.FILLED, 1)
    assert isinstance(changed, AccountChanged)


async def test_spot_subscribes_with_a_signature_and_is_up_when_the_venue_says_so(
    venue: WsVenue, start_desk: StartDesk, autojump_clock: trio.testing.MockClock
) -> None:
    spot = start_desk(BinanceSpot(KEYS))
    session = await venue.session()
    assert session.target == "/ws-api/v3"
    request = json.loads(session.received[0])
    assert request["method"] == "userDataStream.subscribe.signature"
    assert (spot.states, spot.calls) == ([], [])
    await session.say(READY)
    assert spot.states == ["up"]
    assert spot.events == [], "readiness is the session's own business"


async def test_a_stream_that_is_never_ready_is_tried_again(
    venue: WsVenue, start_desk: StartDesk, supervisor: Supervisor, autojump_clock: trio.testing.MockClock
) -> None:
    spot = start_desk(BinanceSpot(KEYS))
    await (await venue.session(2)).say(READY)
    assert supervisor.ends == ["VenueRetry: binance-spot: the private stream was not ready within 10 s"]
    assert spot.states == [supervisor.ends[0], "up"]


@pytest.mark.parametrize("end", ["expired", "cut"])
async def test_a_stream_that_ends_is_down_with_the_reason_and_comes_back_with_a_new_key(
    venue: WsVenue, um: Desk, supervisor: Supervisor, end: str, autojump_clock: trio.testing.MockClock
) -> None:
    session = await venue.session()
    if end == "expired":
        await session.say(EXPIRED)
    else:
        await session.cut()
    assert um.states[0] == "up"
    assert ("listenKeyExpired" if end == "expired" else "1006") in um.states[1]
    assert not um.feed.up
    assert "L2" in (await venue.session(2)).target
    assert um.states[2] == "up"
    assert len(supervisor.ends) == 1


async def test_a_quiet_account_is_no_dead_stream(
    venue: WsVenue, um: Desk, autojump_clock: trio.testing.MockClock
) -> None:
    await venue.session()
    await trio.sleep(600)
    assert (len(venue.sessions), um.states) == (1, ["up"])


async def test_a_stream_whose_pings_are_not_answered_is_dead(
    venue: WsVenue, um: Desk, supervisor: Supervisor, autojump_clock: trio.testing.MockClock
) -> None:
    venue.mute = True
    await venue.session()
    assert um.states == ["up"]
    venue.mute = False
    await venue.session(2)
    assert supervisor.ends == ["VenueRetry: binance-um: no pong within 10 s"]
    assert 10 + HEALTHY_S < venue.sessions[1].opened_s < 12 + HEALTHY_S


async def test_the_listen_key_is_extended_twice_an_hour(
    venue: WsVenue, um: Desk, autojump_clock: trio.testing.MockClock
) -> None:
    await venue.session()
    await trio.sleep(3700)
    assert um.calls == [("POST", 0.0), ("PUT", 1800.0), ("PUT", 3600.0)]
    assert um.problems == []


async def test_an_extension_that_fails_for_now_is_tried_again_while_the_key_lives(
    venue: WsVenue, um: Desk, autojump_clock: trio.testing.MockClock
) -> None:
    await venue.session()
    um.answers["PUT"] = VenueRetry(um.feed.dialect.venue, "timed out")
    await trio.sleep(1830)
    um.answers["PUT"] = reply({}, 503)
    await trio.sleep(60)
    um.answers["PUT"] = reply({})
    await trio.sleep(120)
    assert [at_s for method, at_s in um.calls if method == "PUT"] == [1800.0, 1860.0, 1920.0]
    assert (len(um.problems), um.feed.up) == (2, True)


async def test_a_key_that_the_venue_does_not_know_any_more_is_replaced(
    venue: WsVenue, um: Desk, autojump_clock: trio.testing.MockClock
) -> None:
    await venue.session()
    um.answers["PUT"] = reply({"code": -1125, "msg": "This listenKey does not exist."}, 400)
    await trio.sleep(1800)
    assert "L2" in (await venue.session(2)).target
    assert "-1125" in um.states[1]


async def test_a_refused_key_is_asked_with_once_a_minute_or_when_it_changed(
    venue: WsVenue, um: Desk, supervisor: Supervisor, autojump_clock: trio.testing.MockClock
) -> None:
    um.answers["POST"] = reply({"code": -2015, "msg": "Invalid API-key, IP, or permissions for action."}, 401)
    await trio.sleep(200)
    assert 3 <= len(um.calls) <= 4
    assert "AccessRefused" in supervisor.ends[0]
    assert all("-2015" in state for state in um.states)
    del um.answers["POST"]
    um.feed.take_dialect(BinanceUm(OTHER_KEYS))
    await trio.sleep(12)
    assert um.feed.up


async def test_other_keys_open_another_session_at_once_and_the_first_is_no_failure(
    venue: WsVenue, um: Desk, supervisor: Supervisor, autojump_clock: trio.testing.MockClock
) -> None:
    await venue.session()
    began_s = trio.current_time()
    um.feed.take_dialect(BinanceUm(OTHER_KEYS))
    second = await venue.session(2)
    assert "L2" in second.target
    assert second.opened_s - began_s < 0.1
    assert um.feed.up
    assert um.states == ["up", "it is opened anew with other keys", "up"]
    assert supervisor.ends == []


async def test_other_keys_that_come_while_it_connects_are_used_too(
    venue: WsVenue, um: Desk, autojump_clock: trio.testing.MockClock
) -> None:
    asked = um.feed.ask

    async def ask_slowly(call: HttpCall) -> HttpReply:
        if not um.calls:
            um.feed.take_dialect(BinanceUm(OTHER_KEYS))
        return await asked(call)

    um.feed.ask = ask_slowly
    assert "L2" in (await venue.session(2)).target
    assert um.feed.up


async def test_a_pause_that_the_venue_asked_for_is_kept(
    venue: WsVenue, um: Desk, autojump_clock: trio.testing.MockClock
) -> None:
    um.answers["POST"] = RateLimited(um.feed.dialect.venue, "too many", retry_after_s=90, code=None, http_status=429)
    await trio.sleep(89)
    assert len(um.calls) == 1
    del um.answers["POST"]
    await trio.sleep(2)
    assert um.feed.up


async def test_a_frame_that_makes_no_sense_is_told_and_five_in_a_row_end_the_session(
    venue: WsVenue, um: Desk, supervisor: Supervisor, autojump_clock: trio.testing.MockClock
) -> None:
    session = await venue.session()
    broken = FILL.replace('"FILLED"', '"HALF_FILLED"')
    await session.say(broken, ACCOUNT, *[broken] * 4, ACCOUNT)
    assert (supervisor.ends, len(um.problems), len(um.events)) == ([], 5, 2)
    assert "HALF_FILLED" in um.problems[0]
    await session.say(*[broken] * 5)
    assert "ProtocolViolation" in supervisor.ends[0]


async def test_cancelled_it_says_that_it_was_stopped(
    venue: WsVenue, start_desk: StartDesk, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    um = start_desk(BinanceUm(KEYS))
    await venue.session()
    with trio.move_on_after(1):
        await um.feed.run_session(Backoff(random.Random(3)))
    assert um.states[-1] == "stopped"
