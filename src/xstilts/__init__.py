"""xstilts: does training on an English intermediate task make a multilingual encoder better in other languages?

>>> import xstilts
>>> scores = xstilts.run("studies/quickstart.yaml")  # a polars.DataFrame, one row a score
>>> xstilts.scores("studies/quickstart.yaml", language="sw", metric="f1")  # of what was run before
"""

from importlib.metadata import version as _version

from xstilts.api import run, scores
from xstilts.planning.study import Study, load_study

__version__ = _version("xstilts")
__all__ = ["Study", "__version__", "load_study", "run", "scores"]
