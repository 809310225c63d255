"""Study files × plan: accepted, or a line for each mistake that names the field, before memory or patience is gone."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from forked import XStilts, rows

BASE = """\
name: tiny
encoders: [bundled/e5-small@1]
recipes: [none, mini-nli]
targets:
- {task: mini-span, max_examples: 6, languages: [en, sw]}
seeds: [1]
training: {max_train_examples: 24, max_dev_examples: 6, batch_size: 8}
"""

#: A study file, and what its error names; None where it is accepted.
CASES: dict[str, tuple[str | bytes, str | None]] = {}


def add(name: str, text: str | bytes, named: str | None) -> None:
    assert name not in CASES, name
    CASES[name] = (text, named)


def change(old: str, new: str) -> str:
    assert old in BASE
    return BASE.replace(old, new)


def each(what: str, old: str, new: str, named: str | None, *values: str) -> None:
    """A case for each of the ``values`` in place of {} in ``new``, which stands in place of ``old``."""
    for value in values:
        short = value if len(value) < 60 else f"{value[:10]} of {len(value)} letters"
        add(f"{what} {short}", change(old, new.replace("{}", value)), named)


add("as it is", BASE, None)
add("crlf", BASE.replace("\n", "\r\n"), None)
add("byte order mark", b"\xef\xbb\xbf" + BASE.encode(), None)
add("a description of 10,000 letters", BASE + f"description: {'x' * 10_000}\n", None)

# -- YAML -----------------------------------------------------------------------------------------------------------

BOMB = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 10))
for name, text, named in [
    ("bomb in unknown keys", BOMB + BASE, "more than 100,000 values"),
    ("bomb in seeds", BOMB + change("[1]", "*a9"), "more than 100,000 values"),
    ("bomb in the name", change("tiny", "[&b0 [x, x]" + "".join(
        f", &b{i} [{', '.join([f'*b{i - 1}'] * 9)}]" for i in range(1, 10)) + "]"), "more than 100,000 values"),
    ("alias of itself", change("[1]", "&s [*s]"), "s.yaml:6: *s names nothing"),
    ("alias of itself in training", change("training: {", "training: &t {x: *t, "), "s.yaml:7: *t"),
    ("alias of itself in recipes", change("[none, mini-nli]", "&r [none, *r]"), "s.yaml:3: *r"),
    ("merge of itself", BASE + "<<: &m {<<: *m}\n", "s.yaml:8: *m"),
    ("unknown alias", BASE + "description: *nope\n", "s.yaml:8: *nope"),
    ("10,000 lists in another", BASE + f"description: {'[' * 10_000}{']' * 10_000}\n", "s.yaml:8: more than 50 levels"),
    ("a million lists in another", BASE + f"description: {'[' * 1_000_000}\n", "more than 50 levels"),
    ("5,000 mappings in another", BASE + f"description: {'{a: ' * 5000}1{'}' * 5000}\n", "more than 50 levels"),
    ("a key twice", BASE + "seeds: [2, 3]\n", "s.yaml:8: 'seeds' is written twice, first in line 6"),
    ("a nested key twice", change("batch_size: 8", "batch_size: 8, batch_size: 16"), "s.yaml:7: 'batch_size' is"),
    ("key 1", BASE + "1: 2\n", "s.yaml:8: 1: unknown key"),
    ("key ~", BASE + "~: 2\n", "s.yaml:8: ~: unknown key"),
    ("key yes", BASE + "yes: 2\n", "s.yaml:8: yes: unknown key"),
    ("key list", BASE + "? [a, b]\n: 2\n", "s.yaml:8: a key that is no word"),
    ("key mapping", BASE + "? {a: b}\n: 2\n", "s.yaml:8: a key that is no word"),
    ("key of another alphabet", change("seeds:", "ѕeeds:"), "did you mean 'seeds'?"),
    ("key with a letter of no width", change("seeds:", "se\u200beds:"), "did you mean 'seeds'?"),
    ("python object", BASE + "description: !!python/object/apply:os.system ['touch pwned']\n", "s.yaml:8: a tag"),
    ("binary", BASE + "description: !!binary aGVsbG8=\n", "s.yaml:8: a tag (!!binary)"),
    ("set", change("[1]", "!!set {1, 2}"), "s.yaml:6: a tag (!!set)"),
    ("omap", change("[1]", "!!omap [a: 1]"), "s.yaml:6: a tag (!!omap)"),
    ("own tag", change("tiny", "!mine tiny"), "s.yaml:1: a tag (!mine)"),
    ("date", BASE + "description: 2020-01-01\n", "YAML reads 2020-01-01 as a date; put it in quotes"),
    ("no date", BASE + "description: 2020-13-45\n", "s.yaml:8: 2020-13-45 is no date"),
    ("two documents", BASE + "---\n" + BASE, "s.yaml:8: a second document"),
    ("empty", "", "a study is a mapping"),
    ("a list", "- a\n", "a study is a mapping"),
    ("a word", "x", "a study is a mapping"),
    ("version 9.9", "%YAML 9.9\n---\n" + BASE, "s.yaml:1: not valid YAML"),
    ("tab", BASE + "\tx: 1\n", "s.yaml:8: not valid YAML"),
    ("NUL", BASE + "description: a\0b\n", "s.yaml:8: a NUL byte"),
    ("bell", BASE + "description: a\x07b\n", "not valid YAML"),
    ("half a character", BASE + 'description: "\\ud800"\n', "s.yaml:8: not valid YAML"),
    ("bytes of half a character", BASE.encode() + b"description: \xed\xa0\x80\n", "s.yaml:8: not UTF-8"),
    ("utf-16", BASE.encode("utf-16"), "UTF-16, not UTF-8"),
    ("latin-1", (BASE + "description: é\n").encode("latin-1"), "s.yaml:8: not UTF-8"),
    ("a description of a megabyte", BASE + f"description: {'x' * 1_000_000}\n", "description: "),
    ("twenty megabytes", BASE + f"description: {'x' * 20_000_000}\n", "bytes, of at most"),
]:  # fmt: skip
    add(name, text, named)

# -- seeds and other numbers ----------------------------------------------------------------------------------------

each("seed", "[1]", "[{}]", "s.yaml:6: seeds.0: ", "1.5", "1.0", "true", "'1'", "-1", "9223372036854775808", "one",
     "18446744073709551616", "null", "2020-01-01", "1" + "0" * 30, "1" + "0" * 4000)  # fmt: skip
each("seed", "[1]", "[{}]", "s.yaml:6: ", "010", "1:30", "1" + "0" * 5000)
each("seed", "[1]", "[{}]", None, "0", "4294967296", "9223372036854775807", "1_000")
each("seeds", "[1]", "{}", "s.yaml:6: seeds: ", "[]", "3", "[1, 1]", "{a: 1}")
NUMBERS: dict[str, tuple[list[str], list[str]]] = {  # refused, accepted
    "learning_rate": ([".nan", ".inf", "-1", "0", "1e-400", "2e-5x", "true", "1e400", "1"], ["2e-5", "2.0e-5"]),
    "weight_decay": ([".inf", ".nan", "-1", "1e308", "true"], ["0"]),
    "warmup": ([".nan", ".inf", "-1", "1e300"], ["0.999999", "100"]),
    "max_grad_norm": ([".nan", ".inf", "0", "-1", "1e-300"], ["1000"]),
    "adam_epsilon": ([".nan", "0", "1e-300"], ["1.0e-6"]),
    "epochs": (["-1", "0", "1.5", "100000000000000000000000", "true"], ["2"]),
    "batch_size": (["-8", "0", "8.5", "100000000000000000000000000000", "1000000000000000"], ["1"]),
    "batch_tokens": (["0", "-5", "10000000000000"], ["512"]),
    "max_length": (["-1", "15", "100000000", "1e30", "513"], ["512"]),
    "doc_stride": (["-1", "0", "100000"], ["64"]),
    "max_query_length": (["0", "100000"], ["32"]),
    "precision": (["fp8", "[fp32]", "16"], ["fp32"]),
    "memory": (["-8GB", "8", "'1e999GB'", "nanGB", "0GB", "[8]", "1B", "1MB"], ["8GB", "'8 GB'"]),
    "processes": (["-1", "0", "1000000"], ["1"]),
    "sharding": (["half", "no"], ["none"]),
    "collapse_retries": (["-1", "100000000000"], ["2"]),
    "lora": (["{rank: -1}", "{rank: 0}", "{rank: 1000000000}", "{rank: 385}", "{alpha: 0}", "{targets: [nosuch]}",
              "{targets: ['']}", "{targets: [1]}", "5", "{rnak: 4}"], ["{}", "{rank: 384, targets: [query]}"]),
    "freeze_embeddings": (["maybe", "2"], ["yes", "true"]),
    "no_such": (["1"], []),
}  # fmt: skip
for field, (refused, accepted) in NUMBERS.items():
    each(field, "batch_size: 8", f"{field}: {{}}", field, *refused)
    each(field, "batch_size: 8", f"{field}: {{}}", None, *accepted)
each("max_train_examples", "max_train_examples: 24", "max_train_examples: {}", "max_train_examples", "0", "-1", "1.5",
     "1" + "0" * 29)  # fmt: skip
each("layers", "@1]", "@{}]", "encoders.0: ", "0", "-1", "1.5", "1e3", "x")
each("layers", "@1]", "@{}]", "the model has 12 layers", "13", "1000000000")

# -- names ----------------------------------------------------------------------------------------------------------

each("name", "name: tiny", "name: {}", "name: ", "''", "'../x'", "'a/b'", "'..'", "'.'", '"a\\nb"', '"a\\e[31mb"',
     '"a\\0b"', f"'{'n' * 300}'", f"'{'é' * 101}'", "5", "null", "'<b>x</b>'", "'=cmd()'", "'\"q\"'", "[a]", "'a '",
     '"a\\n"', "no", "1.0", "'a.'")  # fmt: skip
each("name", "name: tiny", "name: {}", None, "Größe 2", "'5'", "a.b-c_d+e")
each("recipe", "mini-nli]", "{name: {}, task: mini-nli}]", "name", "'<script>alert(1)</script>'", '"a\\e[2Jb"',
     "\"=cmd|' /C calc'!A0\"", "'[/red]'", "'[bold'", '"a\\nb"', "'a|b'", "'\\input{/etc/passwd}'", "''", '"a\\0b"',
     f"'{'r' * 5000}'", "'../../x'", "'$x$'", '"a\\u202eb"', "7")  # fmt: skip
each("recipe", "mini-nli]", "{name: {}, task: mini-nli}]", None, "NLI & more (50 %)", "'mnli, 3 epochs'", "日本")
each("encoder name", "bundled/e5-small@1", "{source: bundled/e5-small, layers: 1, name: {}}", "encoders.0.name",
     "'[bold]'", "'a|b'", '"a\\nb"', "''", "' '", f"'{'n' * 101}'", "3")  # fmt: skip
each("encoder", "bundled/e5-small@1", "{}", "encoder", "''", "5", "null", "'/'", "'.'", "'/dev/null'", "'-'",
     "'/nonexistent'", "'~nouser/x'", "'a\\b'", '"a\\0b"', "'http://127.0.0.1:1/x'", "'file:///etc'", "'../../etc'",
     "'a/b/c'", "'bundled/e6-small'", "'bundled/../x'", "{source: bundled/e5-small, layers: 0}", f"'{'x' * 5000}'",
     "{source: bundled/e5-small, layers: true}", "{source: bundled/e5-small, revision: x}", "xlm-roberta-base",
     "{source: bundled/e5-small, init: zero}", "{source: bundled/e5-small, recipes: [nosuch]}", "some-model",
     "{source: bundled/e5-small, recipes: []}", "some/a--b")  # fmt: skip

# -- targets, recipes, the rest -------------------------------------------------------------------------------------

each("target", "max_examples: 6, languages: [en, sw]", "{}", "targets", "max_examples: -1", "max_examples: 0",
     "max_examples: 1.5", f"max_examples: 1{'0' * 40}", "languages: []", "languages: [en, en]", "languages: en",
     "languages: [xx]", "languages: [1]", "languages: [en, no]", "split: nosuch", "hidden_layer: 3",
     "training: {epochz: 1}", "training: 5")  # fmt: skip
each("task", "task: mini-span, max_examples: 6, languages: [en, sw]", "task: {}", "targets", "''", "5", "mini-spam",
     "null", "mini-text", "'../x'")  # fmt: skip
each("mlm", "mini-nli]", "{task: mini-nli, mlm: {}}]", "mlm", "{share: 0}", "{share: 1}", "{share: .nan}", "5", "1.5",
     "{share: 0.5, task: nosuch}", "{share: 1e-300}", "0.999999999", "{share: 0.2, languages: []}")  # fmt: skip
each("merge", "mini-nli]", "mini-nli, {name: m, merge: {}}]", "s.yaml:3: recipes", "{a: b}", "[a]", "{none: 1}",
     "[none]", "{mini-nli: .nan}", "{mini-nli: 1.0e+300}", "{mini-nli: true}", "[m]", "[]", "[mini-nli, mini-nli]",
     "[1]")  # fmt: skip
each("translated", "mini-nli]", "{name: m, task: mini-nli, translated: {}}]", "s.yaml", "{languages: []}",
     "{languages: [en]}", "{languages: [de], engine: nosuch}", "{languages: [de, de]}", "5", "{languages: de}",
     "{languages: [de], files: '/etc/passwd'}")  # fmt: skip
each("average", "seeds: [1]", "seeds: [1]\naverage: {}", "average", "{checkpoints: 1}", "{checkpoints: 1000000000}",
     "{seeds: maybe}", "{seeds: true}", "{}", "5")  # fmt: skip
each("data", "seeds: [1]", "seeds: [1]\ndata: {}", "data", "5", '"a\\0b"', "/dev/null", "d" * 5000, "~nouser/x", "no")
each("tasks", "seeds: [1]", "seeds: [1]\ntasks: {}", "s.yaml:7: ", "[s.yaml]", "[.]", "[/dev/null]", "[5]", '["a\\0b"]',
     "[nosuch.yaml]", "x.yaml", "[no]")  # fmt: skip
each("hub", "seeds: [1]", "seeds: [1]\nhub: {}", "s.yaml:7: hub", "5", "{a: b}", "{google/xtreme: 5}", "maybe")
each("on_overlap", "seeds: [1]", "seeds: [1]\non_overlap: {}", "s.yaml:7: on_overlap", "ignore", "no", "5")
each("preset", "seeds: [1]", "seeds: [1]\npreset: {}", "s.yaml:7: preset", "quik", "5", "no", "[quick]")


@pytest.mark.parametrize("case", rows(CASES, cut=26))
def test_a_study(xstilts: XStilts, tmp_path: Path, case: tuple[str | bytes, str | None]) -> None:
    text, named = case
    (tmp_path / "s.yaml").write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
    ended = xstilts(tmp_path, "plan", "s.yaml", seconds=20, HF_HUB_OFFLINE="1")
    if named is None:
        ended.assert_accepted()
    else:
        ended.assert_refused("s.yaml", named, lines=len(ended.errors))
        assert ended.peak < 1 << 30
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("path", ["fifo", "/dev/zero", "/dev/full", "/proc/kmsg", ".", "", "x" * 5000, "loop", "gone"])
def test_a_path_that_is_no_study(xstilts: XStilts, tmp_path: Path, path: str) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "gone").symlink_to("nowhere")
    ended = xstilts(tmp_path, "plan", path, seconds=10)
    ended.assert_plain()
    assert ended.status == 2 and len(ended.errors) == 1 and ended.peak < 1 << 30


OUT = {
    "a file": "s.yaml",
    "below a file": "s.yaml/x",
    "a device": "/dev/null",
    "no rights": "/proc/x",
    "long": "o" * 300,
}


@pytest.mark.parametrize("out", [pytest.param(out, id=name) for name, out in OUT.items()])
def test_where_no_results_can_go_is_told_before_training(xstilts: XStilts, tmp_path: Path, out: str) -> None:
    (tmp_path / "s.yaml").write_text(BASE)
    xstilts(tmp_path, "run", "s.yaml", "--out", out).assert_refused("--out")
    assert not list(tmp_path.rglob("manifest.json"))
