"""For all tests."""

import os

# Beside each other, tests that train have more threads than there are cores. Those that wait would keep others from working.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
