"""Place and route with our own steps around nextpnr's: floorplan, refinement, post-route repair."""

import shutil
from importlib.util import find_spec
from pathlib import Path

from ..timing import Timing
from ..tools import PLACER, Progress, find_tool, missing, run

#: How nextpnr places.
PLACE = [*PLACER, "--no-route"]
#: How it routes what has been placed: with its default router, which makes hardly a detour; `router2` makes some of 3 ns.
ROUTE = ["--no-pack", "--no-place", "--router", "router1"]
#: How often at most a routed design that is too slow is repaired.
REPAIRS = 6


def require_libraries() -> None:
    """Raises FpgaToolError when SciPy or Numba is not there."""
    for module, name in (("scipy", "SciPy"), ("numba", "Numba")):
        if not find_spec(module):
            raise missing(name)


def place_and_refine(
    sites: dict,
    netlist: Path,
    seed: int,
    mhz: float,
    options: list[str],
    results: dict[str, str],
    progress: Progress,
) -> Timing:
    """A Placer (``hotline_fpga.flow``), with the ``sites`` of the part (``floorplan.macro_sites``).

    Block RAMs and multipliers are given their sites, nextpnr places the rest, the refinement moves cells, and nextpnr routes.
    While the result is too slow, a few cells of the longest paths are moved by the delays of the routed wires, and, if that
    makes these paths shorter, nextpnr routes again what leads to the cells, up to REPAIRS times. The fastest result counts.
    Leaves ``place_SEED.log``, ``route_SEED.log`` and ``repair_SEED_NUMBER.log``.
    """
    from .floorplan import floorplan
    from .refinement import refine, repair

    tool, folder, design = find_tool("nextpnr-ecp5"), netlist.parent, netlist.with_name(f"design_{seed}.json")
    options = [*options, "--freq", str(mhz), "--timing-allow-fail", "--seed", str(seed), "--json", design.name]
    progress("floorplan")
    floorplan(netlist, sites, seed, design)
    run(tool, [*options, *PLACE, "--write", design.name], folder, folder / f"place_{seed}.log", progress)
    refine(design, seed, design, progress)
    results = results | {"--write": f"routed_{seed}.json", "--sdf": f"routed_{seed}.sdf"}
    routed, delays = folder / results["--write"], folder / results["--sdf"]
    attempt = folder / f"attempt_{seed}"
    attempt.mkdir(exist_ok=True)

    def route(log: str) -> Timing:
        files = [text for option, name in results.items() for text in (option, f"{attempt.name}/{name}")]
        run(tool, [*options, *ROUTE, *files], folder, folder / log, progress)
        return Timing.read(attempt / results["--report"])

    def keep() -> None:
        for name in results.values():
            (attempt / name).replace(folder / name)

    timing = route(f"route_{seed}.log")
    keep()
    for number in range(1, REPAIRS + 1):
        if timing.fmax_mhz >= mhz:
            break
        progress(f"{timing.fmax_mhz:.1f} MHz; repair {number} of {REPAIRS}")
        before, after = repair(routed, delays, number, design)
        if after >= before:
            continue
        repaired = route(f"repair_{seed}_{number}.log")
        if repaired.fmax_mhz > timing.fmax_mhz:
            timing = repaired
            keep()
    shutil.rmtree(attempt)
    for large in (design, routed, delays):
        large.unlink()
    return timing
