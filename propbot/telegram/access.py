"""Who writes, and what they may ask for (docs/decisions/0015). Pure.

A person of OPERATORS_FILE is known by their `telegram_id` and is the same operator as over the API. While nobody is
listed with one, whoever writes in the private chat TELEGRAM_CHAT_ID is the operator `telegram`, and in a group they can
only look and pause. Once somebody was listed, it stays so for this life: who is taken off the list is not let in again
as nobody in particular.
"""

from __future__ import annotations

from attrs import define, frozen

from propbot.control.operators import Operators, Role

UNLISTED = "telegram"

NEEDS = {
    "status": Role.VIEWER, "positions": Role.VIEWER, "pnl": Role.VIEWER, "help": Role.VIEWER, "start": Role.VIEWER,
    "pause": Role.OPERATOR, "drain": Role.OPERATOR, "resume": Role.OPERATOR,
    "approve": Role.APPROVER, "reject": Role.APPROVER,
}
"""Every command, and the role that it needs: as over the API."""
LOOSENING = frozenset({"resume", "drain", "approve"})
"""May let orders out that a HOLD keeps in: a /pause that comes after one undoes it before it is done."""


@frozen
class Caller:
    name: str
    role: Role
    listed: bool
    """A person, and no chat: only people propose and approve."""
    may_pause: bool

    def may(self, command: str) -> bool:
        return self.may_pause if command == "pause" else self.role.covers(NEEDS[command])


@define(eq=False)
class Access:
    people: Operators
    chat_id: int
    _by_list: bool = False

    def identify(self, chat_id: int, user_id: int) -> Caller | None:
        """None: nobody that we know. Default deny."""
        if chat_id != self.chat_id:
            return None
        self._by_list = self._by_list or self.people.by_telegram_id
        if not self._by_list:
            role = Role.OPERATOR if self.chat_id > 0 else Role.VIEWER
            return Caller(UNLISTED, role, listed=False, may_pause=True)
        person = self.people.by_telegram(user_id)
        if person is None:
            return None
        return Caller(person.name, person.role, listed=True, may_pause=person.role.covers(Role.OPERATOR))
