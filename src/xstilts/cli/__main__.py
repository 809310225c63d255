"""The command `xstilts`, also as `python -m xstilts.cli`: hears a ^C from the first moment on."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType


def main() -> None:
    """Load the command line and run it; exit status 130 where it is interrupted, without a traceback."""
    interrupted = False

    def end(_signal: int, _frame: FrameType | None) -> None:
        """Amid the imports, where an exception can get lost in C code: nothing is begun yet that could be left half."""
        os.write(2, b"interrupted\n")
        os._exit(130)

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        nonlocal interrupted
        interrupted = True
        raise KeyboardInterrupt

    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # in the background of a script: not to be interrupted
        from xstilts.cli.app import main as command

        return command()
    signal.signal(signal.SIGINT, end)
    try:
        from xstilts.cli.app import main as command

        signal.signal(signal.SIGINT, interrupt)
        command()
    except BaseException as error:
        # What is raised after a ^C is raised by it: amid a late import, say, it becomes an ImportError.
        if not interrupted or isinstance(error, SystemExit):
            raise
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # all is done but to leave


if __name__ == "__main__":
    main()
