"""The command line in forks of one process that has loaded everything: some 0.1 s a case in place of 4 s.

For tables of inputs × commands (test_matrix_*.py). ``XStilts`` starts the process; calling it runs a command in a fork
of it, with limits on time and memory, since what is tried may hang or fill the machine.
"""

from __future__ import annotations

import json
import multiprocessing.forkserver
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
import uuid
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any, TypeVar

import pytest

T = TypeVar("T")

#: Bytes that a command may write to: torch and polars alone take a good part of the first.
MEMORY = 4 << 30


@dataclass(frozen=True)
class Ended:
    """How a command ended. ``status`` is None where it was stopped because it took too long."""

    status: int | None
    out: str
    err: str
    seconds: float
    peak: int  # bytes of memory, resident

    @property
    def errors(self) -> list[str]:
        """The lines of stderr that tell an error."""
        return [line for line in self.err.splitlines() if line.startswith("error:")]

    def assert_plain(self) -> None:
        """It ended by itself, and without a traceback."""
        assert self.status is not None, f"hung: {self.err}"
        assert "Traceback" not in self.err and "Traceback" not in self.out, self.err + self.out

    def assert_accepted(self) -> None:
        self.assert_plain()
        assert self.status == 0, self.err

    def assert_refused(self, *named: str, status: int = 2, lines: int = 1) -> None:
        """Refused in so many lines on stderr, each an ``error:`` of readable length, which name all of ``named``."""
        self.assert_plain()
        assert self.status == status, self.err + self.out
        told = [line for line in self.err.splitlines() if line.strip()]
        assert len(told) == lines and told == self.errors, self.err
        assert all(line.isprintable() and len(line) < 600 for line in told), self.err
        for name in named:
            assert name in self.err, f"{name!r} is not in {self.err!r}"


class XStilts:
    """A process from which commands are forked. ``close`` ends it."""

    def __init__(self) -> None:
        self._server = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __call__(
        self,
        folder: Path,
        *words: str,
        seconds: float = 30,
        memory: int | None = MEMORY,
        stdin: str = os.devnull,
        **environment: str | None,
    ) -> Ended:
        """Run ``xstilts WORDS`` in ``folder``. An environment variable that is None is not set."""
        own = {**os.environ, "XSTILTS_DATA": None, "XSTILTS_STORE": None, **environment}
        environment = {name: value for name, value in own.items() if value is not None}
        order = {"words": words, "folder": str(folder), "seconds": seconds, "memory": memory, "stdin": stdin,
                 "environment": environment}  # fmt: skip
        assert self._server.stdin and self._server.stdout
        print(json.dumps(order), file=self._server.stdin, flush=True)
        return Ended(**json.loads(self._server.stdout.readline()))

    def close(self) -> None:
        self._server.communicate(timeout=10)


def rows(cases: Mapping[str, T], cut: int) -> list[Any]:
    """Parameters of a test, by name: so many of them, evenly spread, in every run of the tests, all in `make soak`."""
    spread = {round(place * (len(cases) - 1) / max(1, cut - 1)) for place in range(cut)}
    return [
        pytest.param(case, id=name, marks=() if place in spread else pytest.mark.soak)
        for place, (name, case) in enumerate(cases.items())
    ]


def _serve(orders: Iterable[str], answers: Any) -> None:
    for order in orders:
        print(json.dumps(_run(**json.loads(order))), file=answers, flush=True)


def _run(
    words: list[str], folder: str, seconds: float, memory: int | None, stdin: str, environment: dict[str, str]
) -> dict[str, Any]:
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        began = time.monotonic()
        pid = os.fork()
        if pid == 0:
            os.setsid()
            with open(stdin, "rb") as given:
                os.dup2(given.fileno(), 0)
            os.dup2(out.fileno(), 1)
            os.dup2(err.fileno(), 2)
            os._exit(_command(words, folder, memory, environment))
        status, used = None, None
        while time.monotonic() - began < seconds and used is None:
            ended, code, usage = os.wait4(pid, os.WNOHANG)
            if ended:
                status, used = os.waitstatus_to_exitcode(code), usage
            else:
                time.sleep(0.01)
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)  # itself if it hangs, and what it left running
        if used is None:
            used = os.wait4(pid, 0)[2]
        texts = {}
        for name, stream in (("out", out), ("err", err)):
            stream.seek(0)
            texts[name] = stream.read().decode(errors="backslashreplace")
        return {"status": status, **texts, "seconds": time.monotonic() - began, "peak": used.ru_maxrss * 1024}


def _command(words: list[str], folder: str, memory: int | None, environment: dict[str, str]) -> int:
    from xstilts.cli.app import main

    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    if memory is not None:
        resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    encoding = os.environ.get("PYTHONIOENCODING") or "utf-8"
    sys.stdout.reconfigure(encoding=encoding, errors="strict", line_buffering=False)  # type: ignore[union-attr]
    sys.stderr.reconfigure(encoding=encoding, errors="backslashreplace")  # type: ignore[union-attr]
    sys.argv = ["xstilts", *words]
    if words[:1] == ["run"] and sys.version_info < (3, 14):  # whose server wants an authentication
        _serve_forks()
    code: int = 0
    try:
        main()
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 0 if ended.code is None else 1
    except BaseException:
        traceback.print_exc()
        code = 70
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):  # a pipe that nobody reads
            code = code or 1
    return code


def _serve_forks() -> None:
    """Workers are forked from what is loaded, too: the server of forks that a run starts would load all of it again.

    It is forked before the command has threads.
    """
    server = multiprocessing.forkserver._forkserver  # type: ignore[attr-defined]
    resource_tracker.ensure_running()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("\0" + uuid.uuid4().hex)
        listener.listen()
        server._forkserver_address = listener.getsockname().decode()
        ended, server._forkserver_alive_fd = os.pipe()
        server._forkserver_pid = os.fork()
        if server._forkserver_pid == 0:
            os.close(server._forkserver_alive_fd)
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
            try:
                multiprocessing.forkserver.main(listener.fileno(), ended, [])
            finally:
                os._exit(0)
        os.close(ended)


if __name__ == "__main__":
    import xstilts.api
    import xstilts.cli.app
    import xstilts.encoders.load
    import xstilts.handover.export
    import xstilts.handover.predict
    import xstilts.running.stages  # noqa: F401

    _serve(sys.stdin, sys.stdout)
    os._exit(0)  # taking all that down would take seconds
