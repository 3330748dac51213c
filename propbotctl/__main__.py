"""`propbotctl` and `python3 -m propbotctl`."""

from __future__ import annotations

from propbotctl.commands import propbotctl


def main() -> None:
    propbotctl(prog_name="propbotctl")


if __name__ == "__main__":
    main()
