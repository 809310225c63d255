"""`python -m tools.mini`: write the mini suite into the package."""

from __future__ import annotations

from tools.mini.files import FOLDER, write

if __name__ == "__main__":
    paths = write()
    print(f"{FOLDER}: {len(paths)} files, {sum(path.stat().st_size for path in paths):,} bytes")
