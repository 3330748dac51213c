"""The options that every command takes, before its name and after it; the one after it wins."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import wraps
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

from propbotctl.failures import reader_may_leave

if TYPE_CHECKING:
    from propbotctl.client import Answer

DEFAULT_BASE_URL = "http://127.0.0.1:8000"
LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class Target:
    """Where to ask, as whom, and how to print."""

    base_url: str
    token: str | None
    ca_file: str | None
    json: bool

    def get(self, path: str, params: Mapping[str, Any] | None = None) -> dict[str, Any]:
        return self.call("GET", path, params=params)[1]

    def patch(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        return self.call("PATCH", "/api/ui/control", body=body)

    def post(self, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        return self.call("POST", path, body=body)

    def call(self, method: str, path: str, **more: Any) -> tuple[int, dict[str, Any]]:
        answer = self.ask(method, path, **more)
        return answer.status, answer.body

    def ask(self, method: str, path: str, **more: Any) -> Answer:
        from propbotctl.client import ask

        return ask(method, self.base_url, path, token=self.token, ca_file=self.ca_file, **more)

    def open_stream(self, path: str, **more: Any) -> AbstractContextManager[Iterator[bytes]]:
        from propbotctl.client import open_stream

        return open_stream(self.base_url, path, token=self.token, ca_file=self.ca_file, **more)


def is_loopback(base_url: str) -> bool:
    return urlsplit(base_url).hostname in LOOPBACK


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        has_host = bool(parts.hostname) and not any(char.isspace() for char in url)
        return parts.scheme in ("http", "https") and has_host and parts.port != 0
    except ValueError:
        return False


def _checked_url(_: click.Context, __: click.Parameter, url: str | None) -> str | None:
    if url is not None and not _is_address(url):
        raise click.BadParameter(f"{url!r} is not an address such as {DEFAULT_BASE_URL}")
    return url


_OPTIONS = (
    click.option(
        "--base-url", callback=_checked_url, metavar="URL", help=f"PROPBOT_BASE_URL, else {DEFAULT_BASE_URL}."
    ),
    click.option("--token", metavar="T", help="Bearer token; else API_TOKEN from the environment."),
    click.option("--json", "as_json", is_flag=True, default=None, help="Print the answer as JSON."),
    click.option("--ca-file", metavar="F", type=click.Path(), help="Trust this certificate authority."),
)
_NAMES = ("base_url", "token", "as_json", "ca_file")


def target_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """On the group and on each command; the command gets what both say as `target`."""

    @wraps(command)
    def with_target(*args: Any, **given: Any) -> Any:
        context = click.get_current_context()
        said = {name: given.pop(name) for name in _NAMES}
        before = context.find_object(Target) or _from_environment()
        target = replace(
            before,
            base_url=said["base_url"] or before.base_url,
            token=said["token"] or before.token,
            ca_file=said["ca_file"] or before.ca_file,
            json=bool(said["as_json"]) or before.json,
        )
        context.obj = target
        with reader_may_leave():
            return command(*args, target=target, **given)

    for option in reversed(_OPTIONS):
        with_target = option(with_target)
    return with_target


def _from_environment() -> Target:
    url = os.environ.get("PROPBOT_BASE_URL") or DEFAULT_BASE_URL
    if not _is_address(url):
        raise click.UsageError(f"PROPBOT_BASE_URL={url!r} is not an address such as {DEFAULT_BASE_URL}")
    return Target(url, os.environ.get("API_TOKEN", "").strip() or None, None, False)
