"""`python -m sdk` is the command `sdk`."""

from sdk.cli import main

main()
