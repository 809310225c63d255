"""`xstilts store`: what is in a store, is it whole, what can go. Commands and printing, no logic."""

from __future__ import annotations

import json
import sys
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from xstilts.api import open_store
from xstilts.cli.options import JsonOption, StoreOption
from xstilts.cli.verbs import Verb
from xstilts.common.errors import UserError, within
from xstilts.common.screen import Listing
from xstilts.common.units import bytes_in_one_unit, duration, in_one_unit, memory
from xstilts.planning import added
from xstilts.planning.planner import keys_in_any_precision
from xstilts.planning.study import load_study
from xstilts.store import upkeep

app = typer.Typer(help="Look after a store: what is in it, is it whole, what can go.", no_args_is_help=True)


@app.command("ls", cls=Verb, epilog="Example: `xstilts store ls --store s3://bucket/xstilts`")
def ls(store: StoreOption = None, as_json: JsonOption = False) -> None:
    """List the artifacts, the latest first, whose they are, the runs, and how much room everything takes."""
    found = upkeep.contents(open_store(store))
    if as_json:
        print(json.dumps(asdict(found), indent=1))
        return
    byte, bytes_ = bytes_in_one_unit([one.size for one in found.entries])
    time, ages = in_one_unit([one.age for one in found.entries])
    head = ("key", "kind", f"size ({byte})", f"age ({time})", "study", "label")
    table = Listing(head, right=frozenset(head[2:4]))
    sizes, counts = Counter[str](), Counter[str]()
    for one, size, age in zip(found.entries, bytes_, ages, strict=True):
        table.add(one.key[:12], one.kind, size, age, ", ".join(one.studies), one.label)
        sizes[one.kind] += one.size
        counts[one.kind] += 1
    if found.entries:
        table.print()
        print()
    for run in found.runs:
        print(f"{'live' if run.alive else 'ended'} run: {run.whose}, begun {duration(run.age)} ago")
    for path in found.damaged:
        print(f"note: {path}: no record of a run, passed over", file=sys.stderr)
    for kind in sorted(counts):
        print(f"{counts[kind]} {kind}: {memory(sizes[kind])}")
    others = ", ".join(f"{name} {memory(size)}" for name, size in found.parts.items() if size)
    print(f"{len(found.entries)} artifacts: {memory(sum(sizes.values()))}{'; besides, ' if others else ''}{others}")


@app.command(cls=Verb, epilog="Example: `xstilts store verify`, after a crash or a copy to another disk")
def verify(store: StoreOption = None, as_json: JsonOption = False) -> None:
    """Read every artifact, set the damaged aside, and remove what killed processes left behind."""
    found = upkeep.verify(open_store(store))
    if as_json:
        print(json.dumps(asdict(found), indent=1))
        return
    for label in found.damaged:
        print(f"damaged, set aside: {label}")
    for name in found.kept:
        print(f"damaged, for display alone, kept: {name}")
    for path in found.removed:
        print(f"removed, nobody's: {path}")
    print(f"{found.artifacts} artifacts read, {len(found.damaged)} damaged, {len(found.removed)} leftovers removed")
    if found.damaged:
        print("the next run computes the damaged ones again")


@app.command(cls=Verb, epilog="Example: `xstilts store prune --keep studies/phang2020.yaml --yes`")
def prune(
    keep: Annotated[
        list[Path], typer.Option(metavar="STUDY", help="a study whose artifacts stay; may be given several times")
    ],
    store: StoreOption = None,
    yes: Annotated[bool, typer.Option("--yes", help="delete; without it, what would be deleted is listed")] = False,
    as_json: JsonOption = False,
) -> None:
    """Delete the artifacts that none of the named studies needs, whole or set aside as damaged.

    What a run needs that is alive stays, whoever's it is. The data of the studies must be at hand, since they decide
    the keys.
    """
    opened = open_store(store)
    needed: set[str] = set()
    for file in keep:
        study = load_study(file)
        try:
            needed |= keys_in_any_precision(study, added.read(opened, study.name))
        except UserError as error:
            raise within(str(file), error) from None
    findings = upkeep.waste(opened, needed)
    found = findings.waste
    if yes:
        upkeep.remove(opened, found)
    if as_json:
        print(json.dumps({"deleted": yes, "found": [asdict(one) for one in found], "kept": findings.kept}, indent=1))
        return
    for one in found:
        print(f"{memory(one.size):>8}  {one.path.split('/')[0]}: {one.label}")
    for whose, size in findings.kept.items():
        print(f"kept: {memory(size)} that a live run needs: {whose}")
    print(f"{len(found)} {'deleted' if yes else 'to delete'}: {memory(sum(one.size for one in found))}")
    if found and not yes:
        print("nothing is deleted yet; the same command with --yes does it", file=sys.stderr)
