"""The command `xstilts`, also as `python -m xstilts.cli`: hears a ^C from the first moment on."""

from __future__ import annotations

import os
import signal
from types import FrameType

#: Shows a terminal's cursor, which a live table hides.
CURSOR = b"\x1b[?25h"


def main() -> None:
    """Load the command line and run it; exit status 130 where it is interrupted, without a traceback.

    The first ^C lets a command clean up; another ends the process at once, which loses nothing that was finished.
    """
    interrupted = False

    def end(_signal: int = 0, _frame: FrameType | None = None) -> None:
        os.write(2, (CURSOR if os.isatty(2) else b"") + b"interrupted\n")
        os._exit(130)

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        nonlocal interrupted
        if interrupted:
            end()
        interrupted = True
        raise KeyboardInterrupt

    if heard := signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # as it is of jobs in a script's background
        signal.signal(signal.SIGINT, end)  # amid the imports, an exception can get lost in C code
    try:
        from xstilts.cli.app import main as command

        if heard:
            signal.signal(signal.SIGINT, interrupt)
        command()
    except BaseException as error:
        # What is raised after a ^C is raised by it: amid a late import, say, it becomes an ImportError.
        if not interrupted or isinstance(error, SystemExit):
            raise
        end()
    finally:
        if heard:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # all is done but to leave


if __name__ == "__main__":
    main()
