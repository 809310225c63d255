"""Hooks of mkdocs.yml: pages that are made from the code, the notebook, and files beside the documents."""

from __future__ import annotations

import json
import os
import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

ROOT = Path(__file__).parents[1]

#: Pages of the site that are files elsewhere in the repository.
ELSEWHERE = {"readme.md": "README.md", "contributing.md": "CONTRIBUTING.md", "changelog.md": "CHANGELOG.md"}

_LINK = re.compile(r"(?<=\]\()([^)#\s:]+)(?=[)#])")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what is made, and what documents link to outside of their folder, and point links there."""
    from mkdocs.structure.files import File

    made = {
        "reference/cli.md": command_line(),
        "reference/python.md": PYTHON,
        "tutorial.md": as_markdown(json.loads((ROOT / "docs" / "tutorial.ipynb").read_text("utf-8"))),
        **{page: (ROOT / source).read_text("utf-8") for page, source in ELSEWHERE.items()},
    }
    written = {file.src_uri: (ROOT / "docs" / file.src_uri).read_text("utf-8") for file in files.documentation_pages()}
    beside: set[str] = set()
    for page, text in {**written, **made}.items():
        source = ELSEWHERE.get(page, f"docs/{page}")
        if (old := files.get_file_from_path(page)) is not None:
            files.remove(old)
        files.append(File.generated(config, page, content=_relinked(text, page, source, beside)))
    for path in sorted(beside):
        files.append(File.generated(config, f"files/{path}", abs_src_path=str(ROOT / path)))
    return files


def _relinked(text: str, page: str, source: str, beside: set[str]) -> str:
    """The text of ``page`` with links as the site has them; what they lead to outside of docs/ is put ``beside``.

    ``source`` is the page's file below the repository's root.
    """

    def lead(link: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), link[1]))
        if path.startswith("docs/") and (ROOT / path).is_dir():
            path = min(str(page.relative_to(ROOT)) for page in (ROOT / path).glob("*.md"))
        if path.startswith("docs/") or not (ROOT / path).exists():  # a page, or what mkdocs is to complain of
            target = re.sub(r"\.ipynb$", ".md", path.removeprefix("docs/"))
        elif path in ELSEWHERE.values():
            target = next(name for name, file in ELSEWHERE.items() if file == path)
        else:
            if (ROOT / path).is_dir():
                path = _listing(path, beside)
            beside.add(path)
            target = f"files/{path}"
        return posixpath.relpath(target, posixpath.dirname(page) or ".")

    return _LINK.sub(lead, text)


def _listing(folder: str, beside: set[str]) -> str:
    """The first file of a folder that is linked to; all are put ``beside``."""
    found = sorted(str(path.relative_to(ROOT)) for path in (ROOT / folder).iterdir() if path.is_file())
    beside.update(found)
    return found[0]


def command_line() -> str:
    """Every command with its options, as `--help` has them."""
    import typer
    from typer.cli import get_docs_for_click
    from typer.main import get_command

    from xstilts.cli.app import app

    os.environ["COLUMNS"] = "120"
    command = get_command(app)
    return get_docs_for_click(
        obj=command, ctx=typer.Context(command, info_name="xstilts"), name="xstilts", title="The command line"
    )


#: mkdocstrings fills it from docstrings.
PYTHON = """# Python

::: xstilts.api
    options:
      show_root_heading: false
      show_root_toc_entry: false

::: xstilts.planning.study.load_study

## Errors

::: xstilts.common.errors.UserError
"""


def as_markdown(notebook: dict[str, Any]) -> str:
    """A notebook of nbformat 4 with the outputs that it holds."""
    parts = []
    for cell in notebook["cells"]:
        text = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(text)
            continue
        parts.append(f"```python\n{text}\n```")
        for output in cell["outputs"]:
            data = output.get("data", {})
            if "text/html" in data:
                parts.append(f'<div class="output">\n{"".join(data["text/html"])}\n</div>')
            elif words := "".join(output.get("text", [])) or "".join(data.get("text/plain", [])):
                parts.append(f"```text\n{words.rstrip()}\n```")
    return "\n\n".join(parts) + "\n"
