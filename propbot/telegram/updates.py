"""An update as Telegram gives it → what was said, or why it does not count. Pure.

Only a message that a person wrote just so counts: what was edited, forwarded or made by a bot may say something that
nobody means here and now (FAULTS, section 4).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeGuard

from attrs import frozen

NAME_CHARACTERS_MAX = 32
REST_CHARACTERS_MAX = 200
_FORWARDED = ("forward_origin", "forward_date", "forward_from", "forward_from_chat", "forward_sender_name")


@frozen
class Said:
    """Text in a chat. `unmeant` says why it does not count (`edited`, `forwarded`, `by a bot`); empty: it does."""

    chat_id: int
    user_id: int
    date_s: int
    """Telegram's wall clock, whole seconds."""
    text: str
    unmeant: str = ""


@frozen
class Command:
    """`/pause@SomeBot market looks odd` → `pause`, `market looks odd`, `somebot`."""

    name: str
    rest: str
    to: str = ""
    """Which bot it is addressed to, in small letters; empty: whoever hears it."""


def read_update_id(update: Any) -> int | None:
    """None for what is no update at all."""
    id = update.get("update_id") if isinstance(update, dict) else None
    return id if _is_int(id) else None


def read_update(update: Mapping[str, Any]) -> Said | None:
    """None for what carries no text of a person in a chat: channel posts, photographs, people who join."""
    edited = update.get("edited_message")
    message = edited if isinstance(edited, dict) else update.get("message")
    if not isinstance(message, dict):
        return None
    chat, person, date_s, text = (message.get(name) for name in ("chat", "from", "date", "text"))
    if not isinstance(chat, dict) or not isinstance(person, dict) or not isinstance(text, str):
        return None
    chat_id, user_id = chat.get("id"), person.get("id")
    if not (_is_int(chat_id) and _is_int(user_id) and _is_int(date_s)):
        return None
    return Said(chat_id, user_id, date_s, text, _unmeant(message, person, edited=edited is not None))


def _unmeant(message: Mapping[str, Any], person: Mapping[str, Any], *, edited: bool) -> str:
    if edited or message.get("edit_date") is not None:
        return "edited"
    if any(message.get(name) is not None for name in _FORWARDED) or message.get("is_automatic_forward"):
        return "forwarded"
    # an anonymous administrator writes as a bot, a channel as its own sender: nobody knows who it was
    if person.get("is_bot") or message.get("via_bot") is not None or message.get("sender_chat") is not None:
        return "by a bot or a channel"
    return ""


def read_command(text: str) -> Command | None:
    """None for what is no command. Nothing in it can forge a line of a log or fail to be written again."""
    head, _, rest = _printable(text.strip()).partition(" ")
    name, _, to = head.removeprefix("/").rstrip(".,;:!").partition("@")  # as people end a word
    if not head.startswith("/") or not name or len(name) > NAME_CHARACTERS_MAX:
        return None
    return Command(name.lower(), " ".join(rest.split())[:REST_CHARACTERS_MAX], to.lower())


def _printable(text: str) -> str:
    """Line breaks and control characters become blanks, lone surrogates too."""
    return "".join(char if char.isprintable() else " " for char in text)


def _is_int(value: Any) -> TypeGuard[int]:
    return type(value) is int and abs(value) < 2**63
