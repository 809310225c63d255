"""Several batches, or the halves of one, at the same time on the CPU, each with its share of the threads.

The operations of a small encoder are short, so that threads sharing each of them mostly wait for one another; threads
that each have rows of their own do not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import torch

#: `map`, or one that works on several items at a time.
AtOnce = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]


@contextmanager
def side_by_side(wanted: int) -> Iterator[AtOnce]:
    """A `map` whose calls run ``wanted`` at a time, or as many as there are threads; results come in order.

    Autocast and gradient modes do not reach into the calls: they set their own.
    """
    threads = torch.get_num_threads()
    workers = min(wanted, threads)
    if workers < 2:
        yield map
        return
    with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(threads // workers,)) as pool:
        try:
            yield pool.map
        finally:
            torch.set_num_threads(threads)  # what threads to come start with
