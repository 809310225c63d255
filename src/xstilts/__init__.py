"""xstilts: does training on an English intermediate task make a multilingual encoder better in other languages?

>>> import xstilts
>>> scores = xstilts.run("studies/quickstart.yaml")  # a polars.DataFrame, one row a score
"""

from importlib.metadata import version as _version

from xstilts.run import run
from xstilts.study import Study, load_study

__version__ = _version("xstilts")
__all__ = ["Study", "__version__", "load_study", "run"]
