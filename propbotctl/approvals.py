"""`approvals`: what waits for a second person, and what that person says to it."""

from __future__ import annotations

import click

from propbotctl import show
from propbotctl.failures import NotThere, otherwise
from propbotctl.options import Target, target_options
from propbotctl.records import page_options, page_params, print_answer, print_page

LISTED = "`propbotctl approvals list` shows them"


@click.group()
@target_options
def approvals(target: Target) -> None:
    """What waits for a second person, under the Two-Man Rule."""


@approvals.command("list")
@page_options
@target_options
def approvals_list(target: Target, limit: int, cursor: str | None) -> None:
    """Proposals, newest first."""
    print_page(target, "approvals", page_params(limit, cursor), show.show_approvals)


@approvals.command()
@click.argument("approval_id", metavar="ID")
@target_options
def approve(target: Target, approval_id: str) -> None:
    """Let a proposal of another person take effect."""
    with otherwise([LISTED], NotThere):
        _, answer = target.post(_approval_path(approval_id, "approve"), {})
    if target.json:
        show.print_json(answer)
        return
    show.show_approval(answer["approval"])
    show.show_change(answer)


@approvals.command()
@click.argument("approval_id", metavar="ID")
@click.option("--reason", metavar="TEXT", help="Why not.")
@target_options
def reject(target: Target, approval_id: str, reason: str | None) -> None:
    """Refuse a proposal. Approvers may; also to withdraw their own (`pause` voids all that wait)."""
    with otherwise([LISTED], NotThere):
        _, answer = target.post(_approval_path(approval_id, "reject"), {} if reason is None else {"reason": reason})
    print_answer(target, answer, lambda shown: show.show_approval(shown["approval"]))


def _approval_path(approval_id: str, verb: str) -> str:
    if not (approval_id.isascii() and approval_id.isalnum()):
        raise click.UsageError(f"{approval_id!r} is no ID. {LISTED}")
    return f"/api/ui/approvals/{approval_id}/{verb}"
