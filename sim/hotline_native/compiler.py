"""How functions are compiled, and the threads that run them."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

# A thread that waits looks for work for some microseconds, and then sleeps: GNU OpenMP's default is milliseconds, in which the
# threads of PyTorch, or of another process, cannot work. It reads this when it is loaded.
os.environ.setdefault("GOMP_SPINCOUNT", "20000")

import numba  # noqa: E402

#: Compiled functions let other Python threads run, and are kept on disk for the next process.
compiled = numba.njit(nogil=True, cache=True)
#: The same, with loops over ``numba.prange`` shared out to several threads. To be called within :func:`several`.
in_parallel = numba.njit(nogil=True, cache=True, parallel=True)

#: Numba's simplest threading layer, which it takes where there is no OpenMP, serves one caller at a time.
_ONE_CALLER = threading.Lock()


def default_threads() -> int:
    """As many as there are cores for this process."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, numba.config.NUMBA_NUM_THREADS)


@contextmanager
def several(threads: int) -> Iterator[None]:
    """Parallel loops inside use ``threads`` threads, or as many as there can be."""
    with _ONE_CALLER:
        numba.set_num_threads(max(1, min(threads, numba.config.NUMBA_NUM_THREADS)))
        yield
