"""SPLITs that name an earlier SPLIT whose SCATTER is still to come: the same bytes as in strict order, never a hang."""

import random
from dataclasses import replace

import numpy as np
import pytest

from hotline_golden.layouts import Command, Opcode, Status
from hotline_sim.engine.cosim import CosimTransport
from hotline_sim.run.job import output_buffers

from ..configurations import MAIN, WIDE, tiny
from .conftest import HOSTILE, IDEAL, SLOW, small_job
from .lockstep import Lockstep, random_rows


def job_of(sets: int = 2, settings: list[str] = MAIN, **changes):
    return small_job(
        tiny(settings), changes.pop("spec", "synthetic:samples=150"), output_sets=sets, resident=None, **changes
    )


#: Configurations with register slices between blocks for the slow tests.
MORE_SLICED = [[*MAIN, f"link_slices={n}"] for n in range(2, 6)]


@pytest.mark.parametrize(
    "timing, settings",
    [
        pytest.param(IDEAL, MAIN, id="ideal"),
        pytest.param(HOSTILE, MAIN, id="hostile"),
        pytest.param(SLOW, MAIN, id="slow"),
        pytest.param(IDEAL, WIDE, id="ideal-sliced"),
        pytest.param(HOSTILE, WIDE, id="hostile-sliced"),
        *(pytest.param(HOSTILE, some, id=some[-1], marks=pytest.mark.slow) for some in MORE_SLICED),
    ],
)
def test_the_training_loop_gives_the_bytes_of_strict_order(timing, settings):
    """SPLIT(0) SPLIT(1 after 0) SCATTER(0) SPLIT(2 after 1) SCATTER(1) ..., and golden in strict order."""
    job = job_of(settings=settings)
    strict = job.golden()
    shared = 0
    with CosimTransport(job.config, job.host, job.device, host_timing=timing, device_timing=timing) as transport:
        run = Lockstep(job, transport)
        for machine_command in (Command(Opcode.CLEAR), job.learn(0)):
            run.submit(machine_command)
            strict.execute(machine_command)
        run.submit(job.split(0), tag=1000)
        keys_before: set = set()
        for n in range(job.batches):
            if n + 1 < job.batches:
                run.submit(job.split(n + 1, into=(n + 1) % 2), tag=1001 + n, flags=1, after=1000 + n)
            done = run.collect(until=1000 + n)[-1]
            (_, expected) = strict.execute(job.split(n, into=n % 2))
            for name in output_buffers(n % 2):
                buffer = job.device.buffers[name]
                got = transport.device.words(buffer.address, buffer.size // 4)
                assert np.array_equal(got, strict.device.words(buffer.address, buffer.size // 4)), (
                    f"{name}, mini-batch {n}"
                )
            assert done.working_rows == expected.working_rows
            keys = {tuple(k) for k in strict.last_split.working_keys.tolist()}
            shared += len(keys & keys_before)
            keys_before = keys
            job.update((*run.both(), strict.device), n % 2, done.working_rows, n)
            scatter = job.scatter(done.working_rows, into=n % 2)
            run.submit(scatter, flags=1, after=1000 + n)
            strict.execute(scatter)
        run.collect()
        run.compare()
        assert shared > 20, "mini-batches must share rows"
        for number in range(len(job.model.tables)):
            assert np.array_equal(job.table(transport.host, number), job.table(strict.host, number))


def scatter_lists(job, run, count: int, rows: int) -> list[Command]:
    """SCATTERs of random rows to keys that the trace uses, out of buffers of their own."""
    used = [(t, r) for t, touched in enumerate(job.touched_rows()) for r in touched.tolist()]
    commands = []
    for n in range(count):
        _, _, keys, working = (job.device.buffers[name].address for name in output_buffers(2 + n))
        chosen = np.array(random.Random(n).choices(used, k=rows), np.uint32)  # with repetitions
        for image in run.both():
            image.words(keys, 2 * rows)[:] = chosen.reshape(-1)
        random_rows(run.both(), working, rows * job.dim, n)
        commands.append(Command(Opcode.SCATTER, samples=rows, working_keys=keys, working_rows=working))
    return commands


@pytest.mark.parametrize(
    "seed, timing, settings",
    [
        pytest.param(1, IDEAL, MAIN, id="ideal"),
        pytest.param(2, HOSTILE, MAIN, id="hostile"),
        pytest.param(3, HOSTILE, MAIN, id="hostile-again"),
        pytest.param(4, SLOW, MAIN, id="slow"),
        pytest.param(5, IDEAL, WIDE, id="ideal-sliced"),
        pytest.param(6, HOSTILE, WIDE, id="hostile-sliced"),
        *(
            pytest.param(n, HOSTILE, some, id=some[-1], marks=pytest.mark.slow)
            for n, some in enumerate(MORE_SLICED, 7)
        ),
    ],
)
def test_long_random_command_sequences_equal_golden(seed, timing, settings):
    """Named, unnamed, wrong and missing SCATTERs among all other commands, as many in the ring as fit."""
    job = job_of(sets=5, settings=settings, batch_size=9, spec="synthetic:samples=100")
    r = random.Random(seed)
    seen: dict[int, int] = {}
    with CosimTransport(
        job.config,
        job.host,
        job.device,
        host_timing=timing.with_seed(seed),
        device_timing=timing.with_seed(seed + 50),
    ) as transport:
        run = Lockstep(job, transport)
        lists = scatter_lists(job, run, 3, 24)
        run.submit(job.learn(0))
        newest = 0
        named = None
        for step in range(160):
            batch, into = r.randrange(job.batches), step % 2
            kind = r.choices(["next", "split", "scatter", "other"], [6, 3, 2, 2])[0]
            if kind == "next" and newest:
                # A SPLIT that names the newest one, and then, mostly, its SCATTER.
                named = newest if r.random() < 0.85 else r.choice([newest + 7, newest - 3])
                newest = run.submit(job.split(batch, into=into), flags=1, after=named).tag
                if r.random() < 0.8:
                    samples = r.choice([1, 5, 24]) if r.random() < 0.9 else 0
                    run.submit(r.choice(lists), flags=1, after=named, samples=samples)
            elif kind in ("next", "split"):
                newest = run.submit(job.split(batch, into=into)).tag
            elif kind == "scatter":
                names = r.random() < 0.5
                run.submit(r.choice(lists), flags=int(names), after=newest if names else 0)
            else:
                other = r.choice(
                    [
                        job.learn(batch),
                        Command(Opcode.CLEAR),
                        job.hot_list(Opcode.DUMP),
                        job.swap(),
                        Command(99),
                        replace(lists[0], opcode=Opcode.GATHER),
                    ]
                )
                run.submit(other)
            while not run.room or (run.expected and r.random() < 0.3):
                for done in run.collect(until=run.expected[0].tag):
                    seen[done.status] = seen.get(done.status, 0) + 1
        run.submit(Command(Opcode.CLEAR))
        for done in run.collect():
            seen[done.status] = seen.get(done.status, 0) + 1
        run.compare()
    for status in (Status.OK, Status.NO_SUCH_SPLIT, Status.SCATTER_MISSING, Status.BAD_COUNT, Status.UNKNOWN_OPCODE):
        assert seen.get(status), f"{status.name} never came: {seen}"


def test_a_scatter_that_never_comes_ends_in_a_status():
    job = job_of()
    with CosimTransport(job.config, job.host, job.device) as transport:
        run = Lockstep(job, transport)
        run.driver.write("scatter_timeout", 5000)
        first = run.submit(job.split(0))
        run.collect()
        second = run.submit(job.split(1, into=1), flags=1, after=first.tag)
        run.collect()  # its popular part
        started = transport.cycles
        missed = run.driver.next_completion()
        assert (missed.tag, missed.status) == (second.tag, Status.SCATTER_MISSING)
        assert 4000 < transport.cycles - started < 9000
        # Golden learns of it by the next command, which is not hurt.
        assert run.golden.execute(Command(Opcode.CLEAR, tag=77))[0].status == Status.SCATTER_MISSING
        run.driver.submit(Command(Opcode.CLEAR, tag=77))
        assert run.driver.next_completion().status == Status.OK


def test_what_waits_for_a_scatter_gathers_meanwhile():
    """All rows but the shared ones have come when the SCATTER does: what is left to wait for is short."""
    job = job_of(batch_size=37)
    with CosimTransport(job.config, job.host, job.device) as transport:
        run = Lockstep(job, transport)
        first = run.submit(job.split(0))
        done = run.collect()[-1]
        run.submit(job.split(1, into=1), flags=1, after=first.tag)
        transport.run_cycles(60_000)
        before = run.driver.counters()["gather_asks"]
        rows = run.golden.waiting.counts["working_rows"]
        job.update(run.both(), 0, done.working_rows, 0)
        run.submit(job.scatter(done.working_rows), flags=1, after=first.tag)
        run.collect()
        run.compare()
        assert 0 < run.driver.counters()["gather_asks"] - before < rows / 2
