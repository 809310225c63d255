"""`python -m xstilts`."""

from xstilts.cli.__main__ import main

main()
