"""The processes of one training stage on this machine: they begin together, and end together.

    python -m xstilts.running.launch

is one of them: it reads the stage from its input, and tells how it goes on its output, a line of JSON each.
"""

from __future__ import annotations

import json
import os
import pickle
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from xstilts.common.errors import StageError, StoreError
from xstilts.common.progress import Event, Sink, silent
from xstilts.planning.plan import Stage
from xstilts.running.process import cores, environment, reason
from xstilts.store import Store

if TYPE_CHECKING:
    from xstilts.engine.training.checkpoints import Policy

#: Seconds that are waited, after one process failed, for what others say: the one that failed first may be the last to
#: be heard of.
GRACE = 1.0

#: How a process says that it goes no further.
ERRORS = ("failed", "unusable")

#: What processes say whose partner is gone.
SECONDARY = ("closed by peer", "reset by peer", "gloo", "NCCL", "Broken pipe")


def launch(stage: Stage, url: str, told: Sink, policy: Policy | None = None) -> None:
    """Compute a training stage with `Stage.processes` processes of this machine, each on a GPU of its own if there are.

    ``url`` is the store's; ``policy`` says when checkpoints are written. The first process publishes, and is who tells
    of its progress. The death of one, or its error, ends all of them, and so does the end of this process. Raises
    StageError with what went wrong first, and StoreError where the store did.
    """
    members = [_Member(rank) for rank in range(stage.processes)]
    try:
        address = {"WORLD_SIZE": str(len(members)), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port())}
        for member in members:
            member.start(address)
        for member in members:
            member.give(pickle.dumps((stage, url, policy)))
        while waiting := [member for member in members if not member.ended]:
            for member in _heard(waiting):
                for event in member.events():
                    told(event)
            if any(member.failed for member in members):
                _raise(members)
    finally:
        for member in members:
            member.kill()


def member(stage: Stage, store: Store, told: Sink, policy: Policy | None = None) -> None:
    """What each process does, once RANK, LOCAL_RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT say which it is.

    Those are set by `launch`, by torchrun and by Ray Train. Returns when the stage is published. Raises as
    `stages.run_stage` does, in some of the processes: who started them is to end the others then.
    """
    from xstilts.engine.machine.device import accelerator
    from xstilts.engine.training.checkpoints import Policy
    from xstilts.running.stages import run_stage

    engine = accelerator()
    run_stage(stage, store, told if engine.is_main_process else silent, policy or Policy())
    engine.wait_for_everyone()  # none is to go while another still needs it


@dataclass
class _Member:
    """One of the processes, as seen from the one that started it."""

    rank: int
    process: subprocess.Popen[bytes] | None = None
    error: Event | None = None
    ended: bool = False
    unread: bytes = b""
    own: dict[str, str] = field(default_factory=dict)

    def start(self, address: Mapping[str, str]) -> None:
        threads = os.environ.get("OMP_NUM_THREADS") or str(max(1, cores() // int(address["WORLD_SIZE"])))
        own = {
            **environment(int(threads)),
            **os.environ,
            **address,
            "RANK": str(self.rank),
            "LOCAL_RANK": str(self.rank),
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", __spec__.name], env=own, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            start_new_session=True,  # ^C is for who started the run, and reaches these from there
        )  # fmt: skip

    def give(self, content: bytes) -> None:
        """The input stays open: its end says that this process is gone."""
        assert self.process is not None and self.process.stdin is not None
        with suppress(BrokenPipeError):  # it died: its output's end says so too
            self.process.stdin.write(len(content).to_bytes(8, "big") + content)
            self.process.stdin.flush()

    def events(self) -> list[Event]:
        """What it has told since; notes its error and its end."""
        assert self.process is not None and self.process.stdout is not None
        read = os.read(self.process.stdout.fileno(), 1 << 16)
        if not read:
            self.process.wait()
            self.ended = True
            return []
        *lines, self.unread = (self.unread + read).split(b"\n")
        events = [Event.of(json.loads(line)) for line in lines]
        self.error = next((event for event in events if event.state in ERRORS), self.error)
        return [event for event in events if event.state not in ERRORS]

    @property
    def failed(self) -> bool:
        assert self.process is not None
        return self.error is not None or (self.ended and self.process.returncode != 0)

    def kill(self) -> None:
        if self.process is None:
            return
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            with suppress(BrokenPipeError):
                stream.close()  # type: ignore[union-attr]


def _heard(members: list[_Member], timeout: float | None = None) -> list[_Member]:
    """Those that have told something, or ended."""
    by_output = {member.process.stdout: member for member in members if member.process and member.process.stdout}
    readable, _, _ = select.select(list(by_output), [], [], timeout)
    return [by_output[output] for output in readable]


def _raise(members: list[_Member]) -> None:
    """What went wrong first: a process that was killed, else an error that is not of one whose partner is gone."""
    end = time.monotonic() + GRACE
    while (left := end - time.monotonic()) > 0 and (waiting := [member for member in members if not member.ended]):
        for member in _heard(waiting, left):
            member.events()
    for member in members:
        code = member.process.returncode if member.process and member.ended else None
        if code and not member.error:
            hint = " (killed: out of memory?)" if code == -signal.SIGKILL else ""
            raise StageError(f"process {member.rank} of {len(members)} ended with status {code}{hint}")
    errors = [member.error for member in members if member.error]
    first = next((error for error in errors if not any(word in error.text for word in SECONDARY)), errors[0])
    raise StoreError(first.text) if first.state == "unusable" else StageError(first.text)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _main() -> None:
    told = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no message
    count = int.from_bytes(sys.stdin.buffer.read(8), "big")
    stage, url, policy = pickle.loads(sys.stdin.buffer.read(count))
    threading.Thread(target=_end_with_parent, daemon=True).start()

    def tell(event: Event) -> None:
        told.write(json.dumps(event.record()) + "\n")
        told.flush()

    import torch

    if not torch.cuda.is_available():
        os.environ["ACCELERATE_USE_CPU"] = "true"
    try:
        member(stage, Store(url, anew=False), tell, policy)
    except Exception as error:
        tell(Event("", "unusable" if isinstance(error, StoreError) else "failed", reason(error)))
        raise
    finally:
        if torch.distributed.is_initialized() and sys.exc_info()[0] is None:
            torch.distributed.destroy_process_group()


def _end_with_parent() -> None:
    os.read(0, 1)  # ends only with who started this process: nothing more is written
    os._exit(1)


if __name__ == "__main__":
    _main()
