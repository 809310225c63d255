"""xstilts: does training on an English intermediate task make a multilingual encoder better in other languages?

>>> import xstilts
>>> scores = xstilts.run("studies/quickstart.yaml")  # a polars.DataFrame, one row a score
>>> xstilts.scores("studies/quickstart.yaml", language="sw", metric="f1")  # of what was run before
>>> xstilts.report("studies/quickstart.yaml")  # its page, and its answer in words
>>> xstilts.export("studies/quickstart.yaml", "model", target="mini-span")  # the best model, for Transformers
>>> xstilts.load("model")("Who sleeps?", "The dog sleeps.")  # its answer
>>> xstilts.predict("model", "questions.csv")  # a dict a record, with its prediction

`plan` gives the stages that a study takes. A study is the path of its file, a mapping with what such a file holds, or
the `Study` that `load_study` makes of a file. What the user can mend is a `xstilts.common.errors.UserError`.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xstilts.api import export, load, paper, plan, predict, report, results, run, scores
    from xstilts.planning.study import Study, load_study

    __version__: str

__all__ = [
    "Study", "__version__", "export", "load", "load_study", "paper", "plan", "predict", "report", "results", "run",
    "scores",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """What `__all__` names, loaded when it is asked for: the command line is to hear a ^C before its libraries load."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "__version__":
        from importlib.metadata import version

        return version("xstilts")
    from xstilts import api
    from xstilts.planning import study

    return getattr(study if name in ("Study", "load_study") else api, name)
