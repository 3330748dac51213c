"""`python3 -m propbot` is `propbot`."""

from propbot.cli import main

main()
