"""Fixtures that several tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from forked import XStilts
from tiny import command, loaded, write

# Tests run side by side: PyTorch's threads would wait for each other, which takes more time than they save.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# The examples of property tests are the same in every run of `make test`; `make soak` searches for others.
settings.register_profile("fixed", derandomize=True)
settings.register_profile("search", max_examples=1000, deadline=None)
settings.load_profile("fixed")


@pytest.fixture
def real_data() -> Path:
    """The folder of real data files; the test is skipped where XSTILTS_DATA does not name it."""
    folder = os.environ.get("XSTILTS_DATA")
    if not folder:
        pytest.skip("needs real data: set XSTILTS_DATA to its folder (docs/data.md)")
    return Path(folder)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the tiny study ran from the command line, uninterrupted."""
    folder = tmp_path_factory.mktemp("finished")
    ended = command(folder, "run", str(write(folder)))
    assert ended.returncode == 0, ended.stderr
    assert "Report: runs/tiny/report.html" in ended.stdout.splitlines()[-1]
    return folder


@pytest.fixture(scope="session")
def xstilts() -> XStilts:
    """The command line, in forks of a process that has loaded everything."""
    return loaded()


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """The address of an S3 server on this machine."""
    pytest.importorskip("s3fs")
    server = pytest.importorskip("moto.server").ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(s3_server: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """The URL of an empty bucket; s3fs finds its server and its credentials in the environment."""
    import s3fs

    for name, value in {"ENDPOINT_URL": s3_server, "ACCESS_KEY_ID": "a", "SECRET_ACCESS_KEY": "b"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    bucket = f"bucket-{abs(hash(request.node.nodeid)):x}"
    s3fs.S3FileSystem().mkdir(bucket)
    return f"s3://{bucket}"
