"""Cycles of an accelerator that is not simulated, by this computer's clock."""

import time


class WallClock:
    """For transports of real hardware whose clock runs at ``clock_hz``."""

    def __init__(self, clock_hz: float):
        self.clock_hz, self._started = clock_hz, time.monotonic()

    @property
    def cycles(self) -> int:
        """Cycles since the start."""
        return int((time.monotonic() - self._started) * self.clock_hz)

    def run_cycles(self, cycles: int) -> None:
        """Lets so much time pass."""
        time.sleep(cycles / self.clock_hz)
