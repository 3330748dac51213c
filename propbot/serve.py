"""The API as a task of the service's nursery: the desk, the application on it, and hypercorn's guarded server."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from propbot.api.app import make_api
from propbot.api.auth import Auth
from propbot.api.server import run_api
from propbot.control.desk import ServiceDesk
from propbot.domain.status import Health
from propbot.service import Service
from propbot.settings import Settings


def make_server(
    settings: Settings, on_listening: Callable[[str], None]
) -> Callable[[Service, trio.Event], Awaitable[None]]:
    """What `run_service` takes as `serve_api`. OSError if the address can't be listened on."""
    token = settings.api.token
    auth = Auth(None if token is None else token.get_secret_value())

    async def serve(service: Service, shutdown: trio.Event) -> None:
        app = make_api(ServiceDesk(service, service.keeper), auth=auth)

        def started(url: str) -> None:
            service.board.put("api", "API", "engine", Health.OK, f"listens on {url}")
            on_listening(url)

        await run_api(app, settings.api.host, settings.api.port, shutdown=shutdown, on_started=started)
        if shutdown.is_set():
            await trio.sleep_forever()  # ended in order; the root nursery ends what is left

    return serve
