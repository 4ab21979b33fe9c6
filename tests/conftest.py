"""For all tests."""

import os
from pathlib import Path

from hypothesis import settings

# What is built is kept for other tests, in whatever folder a test works.
os.environ.setdefault("HOTLINE_BUILD", str(Path(__file__).parents[1] / "build"))
# Beside each other, tests that train have more threads than there are cores. Those that wait would keep others from working.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")

# The same examples in every run, so that a change is what makes a test fail; `--hypothesis-profile=random` looks for others.
settings.register_profile("random", derandomize=False)
settings.register_profile("same", derandomize=True)
settings.load_profile("same")
