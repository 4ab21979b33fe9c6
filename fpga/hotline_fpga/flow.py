"""From a configuration to a netlist, and to a placed and routed design: what Yosys and nextpnr are asked to do."""

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import partial
from pathlib import Path
from threading import Event
from time import sleep

from hotline_rtl.config import AcceleratorConfig
from hotline_rtl.emit.verilog import accelerator_verilog, component_verilog
from hotline_rtl.lib.fifo import BLOCK_RAM_BITS

from .board.ulx3s import ULX3S, Ulx3s
from .harness import TOP, harness_verilog
from .parts import Part, part
from .sharing import keep_apart, share_modules
from .timing import Timing
from .tools import PLACER, FpgaToolError, Progress, find_tool, run, stop_all

#: What nextpnr optimises for, MHz: more than can be had, so that it goes on trying.
TARGET_MHZ = 200
#: Widest adders and comparators that go into LUTs, bits: shorter than a carry chain's way in and out.
SMALL_ADDER_BITS = 9
#: Delay, ps, that LUT mapping need not go below; it saves area instead. Five levels of LUTs, as Yosys counts.
MAPPING_PS = 3000
#: Enables and resets of fewer flip-flops go into LUTs: a slice has one enable and a tile one reset, so each keeps places from
#: others, and their wires are slow. Not of those behind block RAMs, which take them in with their enables.
FEWEST_ENABLED, FEWEST_RESET = 4, 8
FLIP_FLOPS = (
    "dfflegalize -cell $_DFF_?_ 01 -cell $_DFF_?P?_ r -cell $_SDFF_?P?_ r -cell $_DFFE_??_ 01 -cell $_DFFE_?P??_ r "
    f"-cell $_SDFFE_?P??_ r -mince {FEWEST_ENABLED} -minsrst {FEWEST_RESET} t:$_*DFF* t:DP16KD %co2 %d"
)
#: Pins of the boards.
PINS = Path(__file__).with_name("board")

#: Words of a memory that Yosys does not put into LUTs, however wide it is.
DEEP = 512
#: Yosys' name for the memories of fewer words, but more bits than shall lie in LUTs: any that are as deep and as wide as this.
LARGE = (
    f"r:SIZE<{DEEP} t:$mem_v2 %i r:SIZE>=1 r:WIDTH>{BLOCK_RAM_BITS} %i "
    + "".join(
        f"r:SIZE>={depth} r:WIDTH>{BLOCK_RAM_BITS // depth} %i %u " for depth in (2, 4, 8, 16, 32, 64, 128, 256)
    )
    + "%i"
)
#: Yosys' name for the memories of a tracker's lines, if they are large enough for UltraRAM: of a bank that is a module by
#: itself, or of all banks.
TRACKER_LINES = "*bank*/c:ram_?.*storage c:*bank_?.ram_?.*storage %u r:SIZE>=512 %i"
#: Where area alone is asked for: a module with as many instances in another is mapped once. (Each that is mapped by itself
#: takes Yosys some seconds more, and each memory the longer the more there is around it.)
OFTEN = 8


def yosys_script(part: Part, top: str) -> str:
    """What Yosys runs after it has read the Verilog."""
    if part.family == "ecp5":
        # No LUTs of more than four inputs: such a one is several next to each other, which a placer cannot take apart.
        mapping = f"synth_ecp5 -top {top} -nowidelut -run"
        return (
            f"scratchpad -set abc9.D {MAPPING_PS}; {mapping} begin:map_gates; "
            f"techmap -map +/techmap.v t:$alu r:Y_WIDTH<{SMALL_ADDER_BITS} %i; opt -fast; "
            f"{mapping} map_gates:map_ffs; {FLIP_FLOPS}; {mapping} map_ffs: -json netlist.json; check -assert"
        )
    # Left to its costs Yosys puts 64 words of 111 bits into LUTs, and the lines of a large tracker into block RAM, of which other
    # blocks have more use.
    mapping = f"synth_xilinx -family {part.family} -flatten -noiopad -noclkbuf -top {top}"
    styles = f'setattr -set ram_style "block" {LARGE}'
    if part.family == "xcup":
        mapping += " -uram"
        styles += f'; setattr -set ram_style "ultra" {TRACKER_LINES}'
    return f"{mapping} -run begin:map_memory; {styles}; {mapping} -run map_memory:; check -assert; write_json netlist.json"


def synthesise(config: AcceleratorConfig, part: Part, folder: Path, progress: Progress, refine: bool = False) -> Path:
    """Writes ``hotline.v``, ``netlist.json`` and ``yosys.log`` into ``folder``; returns the netlist. ``refine``: registers behind
    block RAMs and multipliers become theirs.

    Parts that are placed and routed get the timing harness around the accelerator. For others ``shared.v`` is mapped, in which
    modules that are alike are one; of those that there are OFTEN nothing is made smaller by what is around them.
    """
    progress("emitting Verilog")
    verilog = accelerator_verilog(config)
    (folder / "hotline.v").write_text(verilog)
    if not part.routed:
        (folder / "shared.v").write_text(keep_apart(share_modules(verilog), OFTEN))
        return _run_yosys(part, "hotline", ["shared.v"], folder, progress)
    (folder / "harness.v").write_text(harness_verilog(verilog, part.clock_pad))
    netlist = _run_yosys(part, TOP, ["hotline.v", "harness.v"], folder, progress)
    if refine:
        from .placement.output_registers import use_output_registers

        progress("output registers")
        use_output_registers(netlist, TOP)
    return netlist


def _run_yosys(part: Part, top: str, sources: list[str], folder: Path, progress: Progress) -> Path:
    """Writes ``synth.ys`` into ``folder`` and carries it out; returns the netlist."""
    script = f"read_verilog -sv {' '.join(sources)}; {yosys_script(part, top)}"
    (folder / "synth.ys").write_text(script.replace("; ", "\n") + "\n")
    run(find_tool("yosys"), ["-s", "synth.ys"], folder, folder / "yosys.log", progress)
    return folder / "netlist.json"


#: Places and routes a netlist in its folder with a seed, for a clock in MHz: nextpnr's options for the part, and for what it
#: shall write, with names of files; ``--report`` is one.
Placer = Callable[[Path, int, float, list[str], dict[str, str], Progress], Timing]


def place_and_route_once(
    netlist: Path, seed: int, mhz: float, options: list[str], results: dict[str, str], progress: Progress
) -> Timing:
    """A Placer: nextpnr alone. Leaves ``nextpnr_SEED.log``."""
    folder = netlist.parent
    files = ["--json", netlist.name, *(text for option, name in results.items() for text in (option, name))]
    options = [*options, *PLACER, "--freq", str(mhz), "--timing-allow-fail", "--seed", str(seed)]
    run(find_tool("nextpnr-ecp5"), [*options, *files], folder, folder / f"nextpnr_{seed}.log", progress)
    return Timing.read(folder / results["--report"])


def require_placer(refine: bool) -> None:
    """Raises FpgaToolError when something is not there that places and routes: nextpnr, or what the refinement needs."""
    find_tool("nextpnr-ecp5")
    if refine:
        from .placement.flow import require_libraries

        require_libraries()


def placer(part: Part, folder: Path, refine: bool) -> Placer:
    """What places and routes designs of ``part`` in ``folder``: nextpnr, or nextpnr with our own refinement around it."""
    require_placer(refine)
    if not refine:
        return place_and_route_once
    from .placement.floorplan import macro_sites
    from .placement.flow import place_and_refine

    return partial(place_and_refine, macro_sites(part, folder))


def place_and_route(
    part: Part,
    speed: int,
    seeds: int,
    folder: Path,
    jobs: int,
    progress: Callable[[int, str], None],
    refine: bool = False,
) -> list[Timing]:
    """Places and routes ``folder``'s netlist with seeds 1 to ``seeds``, ``jobs`` at a time; results by seed. When one fails, or
    at an interrupt, the others are stopped."""
    once = placer(part, folder, refine)
    stopped = Event()

    def one(seed: int) -> Timing:
        def tell(text: str) -> None:
            if stopped.is_set():
                raise FpgaToolError(f"seed {seed} was stopped")
            progress(seed, text)

        options = [*part.options, "--speed", str(speed), "--lpf-allow-unconstrained"]
        results = {"--report": f"timing_{seed}.json"}
        timing = once(folder / "netlist.json", seed, TARGET_MHZ, options, results, tell)
        tell("")
        return timing

    with ThreadPoolExecutor(jobs) as pool:
        running = {pool.submit(one, seed): seed for seed in range(1, seeds + 1)}
        try:
            done = {running[future]: future.result() for future in as_completed(running)}
        except BaseException:
            stopped.set()
            pool.shutdown(wait=False, cancel_futures=True)
            while not all(future.done() for future in running):
                stop_all()
                sleep(0.1)
            raise
    return [done[seed] for seed in sorted(done)]


def bitstream(config: AcceleratorConfig, folder: Path, progress: Progress) -> tuple[Path, Timing]:
    """Builds ``hotline.bit`` for a ULX3S board, the accelerator of ``config`` and its serial line inside, into ``folder``.

    Raises FpgaToolError when a tool fails (nextpnr does when the design does not fit), and when the design is slower than the
    board's clock.
    """
    board, chip, top = ULX3S, part(ULX3S.part), "ulx3s"
    progress("emitting Verilog")
    (folder / f"{top}.v").write_text(component_verilog(Ulx3s(config), top))
    netlist = _run_yosys(chip, top, [f"{top}.v"], folder, progress)
    shutil.copyfile(PINS / f"{top}.lpf", folder / f"{top}.lpf")
    options = [chip.options[0], "--package", board.package, "--speed", str(board.speed), "--lpf", f"{top}.lpf"]
    results = {"--report": "timing.json", "--textcfg": "hotline.config"}
    timing = place_and_route_once(netlist, 1, board.mhz, options, results, progress)
    if timing.fmax_mhz < board.mhz:
        path = " -> ".join(name for name, _ in timing.path)
        raise FpgaToolError(
            f"too slow for the board, whose clock has {board.mhz} MHz: {timing.fmax_mhz:.1f} MHz as routed; longest path: {path}"
        )
    progress("ecppack")
    packing = ["--compress", "--input", "hotline.config", "--bit", "hotline.bit"]
    run(find_tool("ecppack"), packing, folder, folder / "ecppack.log", progress)
    return folder / "hotline.bit", timing
