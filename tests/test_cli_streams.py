"""What is printed reaches a terminal without all letters, and a reader that stops early ends it quietly."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from tiny import XSTILTS


def test_a_letter_that_the_output_lacks_is_escaped_as_json_does() -> None:
    """JSON stays JSON in ASCII: é and 😀 come back, and no traceback comes."""
    code = (
        "import json; from xstilts.cli.streams import forgiving\n"
        "with forgiving():\n    print(json.dumps(['é', '日', '😀'], ensure_ascii=False))"
    )
    done = subprocess.run(
        [XSTILTS[0], "-c", code], capture_output=True, text=True, env={**os.environ, "PYTHONIOENCODING": "ascii"}
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.isascii() and json.loads(done.stdout) == ["é", "日", "😀"]


def test_a_closed_pipe_ends_quietly(tmp_path: Path) -> None:
    command = f"{' '.join(XSTILTS)} tasks --json | head -c 100"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0 and len(done.stdout) == 100 and done.stderr == ""
