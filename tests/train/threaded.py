"""A device for tests: streams are threads, and each of them may be late. Who does not wait for an event sees what was there
before."""

import queue
import random
import threading
import time

import torch

from hotline_train.step.device import STREAMS, Device, Event, Stream, Wait

#: Seconds after which an event is taken for lost.
TIMEOUT = 60


class ThreadedEvent(Event):
    def __init__(self, device):
        self.device, self.came = device, threading.Event()

    def wait(self, what):
        if what is self.device.forgotten:
            return
        if not self.came.wait(TIMEOUT):
            raise TimeoutError(f"an event does not come: {what.value}")
        if self.device.failure:
            raise self.device.failure


class ThreadedStream(Stream):
    """Does its work in a thread, each piece ``delay`` seconds late in the mean."""

    def __init__(self, device, delay, seed):
        self.device, self.delay, self.random = device, delay, random.Random(seed)
        self.work = queue.Queue()
        threading.Thread(target=self._go, daemon=True).start()

    def _go(self):
        while (work := self.work.get()) is not None:
            work()

    def run(self, work, phase):
        self.work.put(lambda: self._late(work))

    def _late(self, work):
        if self.delay:
            time.sleep(self.random.expovariate(1 / self.delay))
        try:
            work()
        except BaseException as e:
            self.device.failure = self.device.failure or e

    def event(self):
        event = ThreadedEvent(self.device)
        self.work.put(event.came.set)
        return event

    def after(self, event, what):
        if event is not None and what is not self.device.forgotten:
            self.work.put(lambda: event.came.wait(TIMEOUT))


class Threaded(Device):
    """``delays``: of each stream, in seconds. ``forgotten``: nobody waits for this, for tests that must fail."""

    def __init__(self, delays=None, seed=1, forgotten=None):
        self.device = torch.device("cpu")
        self.failure, self.forgotten = None, forgotten
        for name in STREAMS:
            setattr(self, name, ThreadedStream(self, (delays or {}).get(name, 0), f"{seed} {name}"))

    def pinned(self, *shape, dtype):
        return torch.zeros(shape, dtype=dtype)

    def synchronise(self):
        for name in STREAMS:
            getattr(self, name).event().wait(Wait.ALL)

    def close(self):
        for name in STREAMS:
            getattr(self, name).work.put(None)
