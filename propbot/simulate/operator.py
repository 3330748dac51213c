"""The people of a simulation, on the API in memory: the operator on duty, and somebody who should not be let in.

Every request leaves a row `api` with a hash of what is in force before and after it, so that the oracle sees what a
refused request changed (I20); what was answered is kept for the search for secrets (I16).
"""

from __future__ import annotations

import hashlib
from typing import Any, cast

import httpx
import trio
from attrs import define, field

from propbot.domain.mode import Mode
from propbot.serve import make_app
from propbot.service import Service
from propbot.simulate.mortal import Killed
from propbot.simulate.plan import FOR_GOOD
from propbot.simulate.world import World

API_TOKEN = "canary-api-token-5a1f0c9e7b3d4826af93e1"  # noqa: S105 (it must never be seen again)
RETRY_S = 5.0
ANSWERS_KEPT_MAX = 5_000

PROBES: tuple[tuple[str, str, bool, Any], ...] = (
    ("PATCH", "/api/ui/control", False, {"mode": "RUN"}),
    ("PATCH", "/api/ui/control", False, {"safe_mode": False, "min_spread_bps": 0}),
    ("PATCH", "/api/ui/control", True, '{"min_spread_bps": NaN}'),
    ("PATCH", "/api/ui/control", True, '{"safe_mode": true, "safe_mode": false}'),
    ("PATCH", "/api/ui/control", True, {"order_notional_usdt": -5, "safe_mode": False}),
    ("PATCH", "/api/ui/control", True, {"no_such_field": 1, "dry_run_only": False}),
    ("GET", "/api/ui/state", True, None),
    ("GET", "/api/ui/events", True, None),
    ("GET", "/api/ui/orders", False, None),
)
"""Method, path, whether the token is right, body."""


@define(eq=False)
class People:
    world: World
    answers: list[str] = field(factory=list)
    _of: Service | None = None
    _client: httpx.AsyncClient | None = None

    async def ask(self, method: str, path: str, body: Any = None, *, known: bool = True) -> tuple[int, Any]:
        """Status and decoded answer; status 0 if the bot died meanwhile."""
        service = self.world.bot
        assert service is not None
        rows = self.world.rows
        before, seen = state_hash(service), len(rows)
        content = body if isinstance(body, str) or body is None else None
        try:
            answer = await self._client_of(service).request(
                method, path, content=content, json=None if content is not None else body,
                headers={
                    "Authorization": f"Bearer {API_TOKEN if known else 'x' * 40}", "Content-Type": "application/json",
                },
            )
        except (Killed, BaseExceptionGroup):
            if not self.world.life.dead:
                raise
            return 0, None
        if len(self.answers) < ANSWERS_KEPT_MAX:
            self.answers.append(answer.text)
        guards_acted = any(
            row["who"] == "bot" and row["kind"] in ("mode", "hold_cause", "flags", "crash")
            and not str(row.get("source", "")).startswith("operator:") for row in rows[seen:]
        )
        self.world.note(
            "api", method=method, path=path, status=answer.status_code, principal="api" if known else "",
            before=before, after=state_hash(service), disturbed=guards_acted,
            hold_asked=isinstance(body, dict) and body.get("mode") == "HOLD",
        )
        return answer.status_code, answer.json() if answer.content else None

    async def hold(self, **more: Any) -> None:
        self.world.note("hold_asked", dead=[])
        await self.ask("PATCH", "/api/ui/control", {"mode": "HOLD", "reason": "the operator says so", **more})

    async def resume(self) -> bool:
        """Leave HOLD, and mend what an operator can mend first."""
        status, answer = await self.ask("PATCH", "/api/ui/control", {"mode": "RUN"})
        if status == 409:
            await self._mend(answer)
            if "DRAIN" in str(answer):  # a position that only DRAIN may close
                status, _ = await self.ask("PATCH", "/api/ui/control", {"mode": "DRAIN"})
        return status == 200

    async def change(self, **body: Any) -> int:
        status, _ = await self.ask("PATCH", "/api/ui/control", body)
        return status

    async def probe(self, number: int) -> None:
        method, path, known, body = PROBES[number]
        await self.ask(method, path, body, known=known)

    async def _mend(self, refused: Any) -> None:
        """Acknowledge what waits for it; what was traded by somebody else is taken over into the baseline."""
        _, shown = await self.ask("GET", "/api/ui/status/components")
        for incident in (shown or {}).get("incidents", ()):
            if incident.get("acknowledged_by") is None:
                await self.ask("POST", f"/api/ui/incidents/{incident['id']}/ack", {"note": "seen"})
        if not any(row["kind"] == "fault" and row.get("fault") in FOR_GOOD for row in self.world.rows):
            return  # nobody touched the account: a difference would be the bot's own, and stays to be seen
        for venue, asset in (("binance-um", "BTC"), ("binance-um", "USDT"), ("binance-spot", "BTC"),
                             ("binance-spot", "USDT")):
            await self.ask(
                "POST", "/api/ui/baseline", {"venue": venue, "asset": asset, "reason": "a colleague traded"}
            )

    def _client_of(self, service: Service) -> httpx.AsyncClient:
        if self._of is not service:
            app = make_app(service)
            transport = httpx.ASGITransport(cast(Any, app))
            self._client = httpx.AsyncClient(transport=transport, base_url="http://propbot")
            self._of = service
        assert self._client is not None
        return self._client

    async def run_duty(self, patience_s: float) -> None:
        """Until cancelled: leave a HOLD once it has lasted a while, and clear what somebody left switched on."""
        while True:
            await trio.sleep(1.0)
            bot = self.world.bot
            if bot is None or self.world.dead:
                continue
            view = bot.modes.view
            if view.mode is Mode.HOLD:
                await trio.sleep(patience_s)
                if bot is self.world.bot and not self.world.dead and not await self.resume():
                    await trio.sleep(RETRY_S)


def state_hash(service: Service) -> str:
    """Of what an operator can change: mode, flags, parameters. The journal is no part of it."""
    view, pipeline = service.modes.view, service.pipeline
    text = repr((view, pipeline.rules, pipeline.limits, service.drain_timeout_s))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
