"""The command line's entry: which commands there are, each in a file of its subject. No logic."""

from __future__ import annotations

import sys
from functools import partial
from typing import Annotated

import typer

from xstilts import __version__
from xstilts.cli import (
    claims,
    data,
    evidence,
    init,
    make,
    models,
    paper,
    plan,
    power,
    report,
    run,
    scores,
    select,
    store,
    xtreme,
)
from xstilts.cli.streams import forgiving
from xstilts.cli.verbs import Verb, Verbs, in_words
from xstilts.common.errors import StageError, StoreError, UserError, printable

#: What is wrong with the words on the command line; `xstilts demo extra`, say.
UsageError: type[Exception] = typer.BadParameter.__mro__[1]

app = typer.Typer(
    name="xstilts",
    cls=Verbs,
    help="Which English intermediate task makes a multilingual encoder better in other languages, by how much, "
    "and does it depend on the encoder's size?\n\nStart with: xstilts demo, then xstilts init",
    context_settings={"help_option_names": ["-h", "--help"]},
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)

# In the order of the work, as `--help` lists them.
begin = partial(app.command, cls=Verb, rich_help_panel="Begin")
begin()(run.demo)
begin(
    epilog="Example: `xstilts init --task xquad --language hi --hours 3`, `xstilts init --data ~/xtreme-data`, or a "
    "copy of a study that comes with xstilts: `xstilts init phang.yaml --from phang2020`"
)(init.init)
begin(epilog="Example: `xstilts make --task qa --language hi --data ~/xtreme-data --hours 3 --out model`")(make.make)

prepare = partial(app.command, cls=Verb, rich_help_panel="What there is to study with")
prepare(epilog="Example: `xstilts tasks --language sw --format span --at-hand`, or `--json` for a script")(data.tasks)
prepare(
    epilog="Example: `xstilts encoders --at-most 300M`; in a study: `bundled/e5-small@6` keeps the lowest 6 layers"
)(data.encoders)
prepare(epilog="Example: `xstilts translate squad --to pt --data ~/xtreme-data --out ~/xtreme-data/squad.pt.jsonl`")(
    data.translate
)
prepare(epilog="Example: `xstilts schema > study.schema.json`")(init.schema)
app.add_typer(data.app, name="data", cls=Verbs, rich_help_panel="What there is to study with")

compute = partial(app.command, cls=Verb, rich_help_panel="Plan and run a study")
compute(epilog="Example: `xstilts plan phang2020`, or `--json` for a script")(plan.plan)
compute(
    epilog="Example: `xstilts power quickstart --run-sd 1.2 --example-sd 0.6 --encoder-sd 0.5`, or with "
    "`--from PILOT` by what the scores of a pilot show"
)(power.power)
compute(epilog="Example: `xstilts select quickstart --train`")(select.select)
compute(epilog="Example: `xstilts run quickstart --out runs/first`")(run.run)
compute(epilog="Example: `xstilts status quickstart`, from another terminal or machine")(run.status)

read = partial(app.command, cls=Verb, rich_help_panel="Read what came out")
read(
    epilog="Example: `xstilts report quickstart --out report`, or several on one page: "
    "`xstilts report --compare studies/a.yaml studies/b.yaml`"
)(report.report)
read(
    name="scores",
    epilog="Example: `xstilts scores quickstart --pivot language`, or `--language sw --format csv > "
    "sw.csv`; several values: `--language sw --language ru`",
)(scores.print_scores)
read(epilog="Example: `xstilts claims quickstart --claims my-claims.yaml`")(claims.claims)
read(
    epilog="Example: `xstilts evidence --target tydiqa`, or with your own gains on a page: "
    "`xstilts evidence --own studies/mine.yaml --out evidence.html`"
)(evidence.evidence)
read(epilog="Example: `xstilts table quickstart --format latex > table.tex`, or `--mean all` as on XTREME")(paper.table)
read(epilog="Example: `xstilts paper quickstart --out draft`")(paper.paper)

use = partial(app.command, cls=Verb, rich_help_panel="Use a model")
use(epilog="Example: `xstilts export quickstart --target mini-span --out model`")(models.export)
use(
    epilog='Example: `xstilts predict model --question "Wo?" --context "Das Treffen ist in Bonn."`, '
    "or many at once: `xstilts predict model --input questions.csv --out answers.csv`"
)(models.predict)
use(epilog="Example: `xstilts submission xquad-small --out submission`")(xtreme.submission)
use(epilog="Example: `xstilts score submission labels`, or `--json` for what XTREME's evaluate.py writes")(xtreme.score)

app.add_typer(store.app, name="store", cls=Verbs, rich_help_panel="Look after what was computed")


def main() -> None:
    """Run a command. Exit status: 0 done, 1 a stage or the store failed, 2 the input is wrong, 130 interrupted."""
    try:
        with forgiving():
            status = app(prog_name="xstilts", standalone_mode=False)
    except UsageError as error:
        if said := in_words(error):
            print(f"error: {printable(said)}", file=sys.stderr)
        sys.exit(2)
    except typer.Abort:  # a ^C, or an end of the input, at a question
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    except UserError as error:
        for line in str(error).split("\n"):
            print(f"error: {printable(line)}", file=sys.stderr)
        sys.exit(2)
    except (StageError, StoreError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    sys.exit(status if isinstance(status, int) else 0)


def _version(wanted: bool) -> None:
    if wanted:
        print(__version__)
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="print the version")
    ] = False,
) -> None:
    pass
