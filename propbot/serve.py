"""The API as a task of the service's nursery: the desk, the application on it, and hypercorn's guarded server."""

from __future__ import annotations

from collections.abc import Callable

import trio
from attrs import frozen
from quart_trio import QuartTrio

from propbot.api.app import make_api
from propbot.api.auth import WRONG_PER_MINUTE_MAX, Auth
from propbot.api.gate import Door
from propbot.api.server import run_api
from propbot.api.strict_json import printable
from propbot.control.desk import ServiceDesk
from propbot.kit.server_tls import server_tls
from propbot.service import Service
from propbot.settings import Api


def make_app(service: Service, closing: trio.Event | None = None) -> QuartTrio:
    """What is served until `closing` is set; a simulation calls it in memory."""
    settings = service.config.settings.api
    door = Door(settings.hosts, settings.trusted_proxy.networks, settings.speaks_tls)

    def tell_locked(address: str) -> None:
        who = printable(address)[:64] or "an unknown address"
        told = f"more than {WRONG_PER_MINUTE_MAX} wrong tokens in a minute from {who}; valid ones are still let in"
        service.journal.say("WARN", "access", told, source="api")

    auth = Auth(service.people, learn=service.seams.redactor.register, on_locked=tell_locked)
    return make_api(
        ServiceDesk(service, service.keeper), auth=auth, door=door, closing=closing,
        metrics_token=None if settings.metrics_token is None else settings.metrics_token.get_secret_value(),
    )


@frozen
class ApiServer:
    """`app.ServeApi`. OSError, before it has `started`, if the address can't be listened on."""

    settings: Api
    on_listening: Callable[[Service, str], None]

    async def __call__(self, service: Service, shutdown: trio.Event, *, task_status: trio.TaskStatus[object]) -> None:
        app = make_app(service, shutdown)
        cert, key = self.settings.tls_cert_file, self.settings.tls_key_file
        tls = None if cert is None or key is None else server_tls(cert, key)

        def started(url: str) -> None:
            service.api_url = url
            self.on_listening(service, url)

        await run_api(
            app, self.settings.host, self.settings.port, tls=tls, shutdown=shutdown, on_started=started,
            task_status=task_status,
        )
        if shutdown.is_set():
            await trio.sleep_forever()  # ended in order; the root nursery ends what is left
