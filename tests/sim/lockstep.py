"""RTL and golden, command by command, with as many commands in the ring as the test likes."""

from dataclasses import replace

import numpy as np

from hotline_golden.layouts import Command, Completion, Kind
from hotline_sim.host.driver import Driver
from hotline_sim.host.limits import RING_ENTRIES
from hotline_sim.run.job import Job, rings
from hotline_sim.run.session import memory_difference


class Lockstep:
    """Submits to the accelerator behind ``transport``, and to a golden machine; compares every completion."""

    def __init__(self, job: Job, transport):
        self.job, self.transport, self.golden = job, transport, job.golden()
        self.rings = rings(transport.host)
        self.driver = Driver(transport, job.config, self.rings)
        self.driver.load_model(job.model)
        for memory in (transport.host_memory, transport.device_memory):
            memory.allow(set(memory.image.buffers) - {"command ring", "samples"})
        self.tag = 0
        self.expected: list[Completion] = []

    @property
    def room(self) -> bool:
        """There is room in both rings for what one more command may bring."""
        return (
            len(self.expected) < RING_ENTRIES - 3
            and self.driver.submitted - self.driver.read("command_head") < RING_ENTRIES
        )

    def submit(self, command: Command, **changes) -> Command:
        """Puts the command, with a tag of its own, into the ring; golden carries it out."""
        self.tag += 1
        command = replace(command, **({"tag": self.tag} | changes))
        self.driver.submit(command)
        self.expected += self.golden.execute(command)
        return command

    def collect(self, until: int | None = None) -> list[Completion]:
        """Takes completions, all that are expected or up to the last of tag ``until``, and compares them."""
        got = []
        while self.expected:
            mine, theirs = self.driver.next_completion(), self.expected.pop(0)
            assert mine.untimed() == theirs.untimed(), (mine, theirs)
            got.append(mine)
            if until is not None and mine.tag == until and mine.kind != Kind.POPULAR:
                break
        return got

    def both(self):
        """The two images of device memory, to change them alike."""
        return self.transport.device, self.golden.device

    def compare(self) -> None:
        """Both memories, byte for byte; the rules of AXI were kept; nothing is under way."""
        assert memory_difference(self.transport, self.golden, self.rings) == ""
        for memory in (self.transport.host_memory, self.transport.device_memory):
            assert not memory.violation
            assert memory.idle


def random_rows(images, address: int, words: int, seed: int) -> None:
    """The same random words at ``address`` of every image."""
    values = np.random.default_rng(seed).integers(0, 1 << 32, words, np.uint64).astype(np.uint32)
    for image in images:
        image.words(address, words)[:] = values
