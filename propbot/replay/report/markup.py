"""HTML from values, escaped by construction: text is escaped unless it is `Markup`, which only this room makes."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from attrs import frozen

_VOID = frozenset({"meta", "link", "br"})


@frozen
class Markup:
    """Finished HTML."""

    html: str


Content = str | Markup


def element(tag: str, *children: Content | Iterable[Content], **attributes: str | None) -> Markup:
    """`<tag …>children</tag>`. Attributes of None are left out; a trailing underscore lets `class_` be written, and
    the others become dashes."""
    written = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{escape(value)}"'
        for name, value in attributes.items() if value is not None
    )
    if tag in _VOID:
        return Markup(f"<{tag}{written}>")
    return Markup(f"<{tag}{written}>{together(*children).html}</{tag}>")


def together(*children: Content | Iterable[Content]) -> Markup:
    return Markup("".join(_html(child) for child in children))


def _html(child: Content | Iterable[Content]) -> str:
    match child:
        case Markup():
            return child.html
        case str():
            return escape(child)
        case _:
            return "".join(_html(each) for each in child)
