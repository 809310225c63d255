"""`python -m xstilts.cli` is the command `xstilts`."""

from xstilts.cli.app import main

main()
