"""Places for block RAMs and multipliers: what is solved for, and that nextpnr keeps to it."""

import json

import numpy as np
import pytest

from hotline_fpga.flow import yosys_script
from hotline_fpga.parts import PARTS
from hotline_fpga.placement import flow
from hotline_fpga.placement.floorplan import MACROS, Nets, Site, floorplan, macro_sites, place_macros, read_nets
from hotline_fpga.tools import FpgaToolError, find_tool, run
from hotline_rtl.emit.verilog import component_verilog
from hotline_rtl.lib.fifo import StreamFifo

pytestmark = pytest.mark.fpga


@pytest.mark.parametrize("missing", ["SciPy", "Numba"])
def test_without_what_places_it_is_said_what_to_install(monkeypatch, missing):
    monkeypatch.setattr(flow, "find_spec", lambda name: None if name == missing.lower() else name)
    with pytest.raises(FpgaToolError, match=rf"{missing} is not there: pip install 'hotline-accelerator\[fpga\]'"):
        flow.require_libraries()


def nets_of(kinds: list[str], nets: list[list[int]]) -> Nets:
    sizes = np.array([len(net) for net in nets])
    return Nets([f"c{n}" for n in range(len(kinds))], np.array(kinds), np.concatenate(nets), np.cumsum(sizes) - sizes)


def test_springs_hold_as_much_energy_as_there_is_wire():
    """Bound2Bound's property: the springs' energy at rest lengths of their own is the half perimeter of each net."""
    random = np.random.default_rng(3)
    for pins in (2, 3, 7, 20):
        at = random.permutation(10 * pins)[:pins].astype(float)  # at least a tile apart
        nets = nets_of(["LUT4"] * pins, [list(range(pins))])
        pull = nets.springs(at).toarray()
        assert np.array_equal(pull, pull.T)
        energy = (pull * (at[:, None] - at) ** 2).sum() / 2
        assert energy == pytest.approx(at.max() - at.min()) == nets.wire(at)


def two_groups() -> tuple[Nets, dict[str, list[Site]]]:
    """Two groups of eight block RAMs and 400 LUTs, each wired up within, with three nets between them; two rows of sites."""
    random = np.random.default_rng(1)
    kinds, nets = [], []
    for group in range(2):
        first = len(kinds)
        kinds += ["DP16KD"] * 8 + ["LUT4"] * 400
        for cell in range(8, 408):
            nets.append(
                [first + cell, first + int(random.integers(max(8, cell - 20), cell + 1) % 408), first + cell % 8]
            )
        if group:
            nets += [[n, first + n] for n in range(10, 13)]
    sites = [Site(x, y, f"X{x}/Y{y}") for y in (4, 12) for x in range(0, 40, 2)]
    return nets_of(kinds, [sorted(set(net)) for net in nets]), {
        "DP16KD": sites,
        "MULT18X18D": [Site(20, 8, "X20/Y8")],
    }


def test_macros_that_belong_together_come_together_each_on_a_site_of_its_own():
    nets, sites = two_groups()
    placed = place_macros(nets, sites, seed=1)
    assert placed == place_macros(nets, sites, seed=1)
    assert len(set(placed.values())) == len(placed) == 16
    where = {site.bel: (site.x, site.y) for site in sites["DP16KD"]}
    at = np.array([where[placed[name]] for name in nets.cells if name in placed])
    apart = np.abs(at[:, None] - at).sum(2)
    within = (apart[:8, :8].mean() + apart[8:, 8:].mean()) / 2
    assert within < 0.6 * apart[:8, 8:].mean()


@pytest.mark.parametrize("target", ["ecp5-25k", "ecp5-45k", "ecp5-85k"])
def test_every_site_of_a_part_is_known(target, tmp_path):
    sites = macro_sites(PARTS[target], tmp_path)
    for kind, resource in MACROS.items():
        assert len({site.bel for site in sites[kind]}) == PARTS[target].resources[resource]


def test_nextpnr_leaves_block_rams_where_they_were_put(tmp_path):
    part = PARTS["ecp5-25k"]
    (tmp_path / "hotline.v").write_text(component_verilog(StreamFifo(64, 2048), "fifo"))
    run(
        find_tool("yosys"),
        ["-p", f"read_verilog -sv hotline.v; {yosys_script(part, 'fifo')}"],
        tmp_path,
        tmp_path / "log",
    )
    planned = tmp_path / "planned.json"
    floorplan(tmp_path / "netlist.json", macro_sites(part, tmp_path), 1, planned)
    cells = next(m for m in json.loads(planned.read_text())["modules"].values() if m["attributes"].get("top"))[
        "cells"
    ]
    asked = {name: cell["attributes"]["BEL"] for name, cell in cells.items() if cell["type"] == "DP16KD"}
    assert len(asked) == len(set(asked.values())) > 4
    assert len(read_nets(json.loads(planned.read_text())).cells) > len(asked)
    arguments = [*part.options, "--json", planned.name, "--no-route", "--placer", "static", "--write", "placed.json"]
    run(find_tool("nextpnr-ecp5"), [*arguments, "--lpf-allow-unconstrained"], tmp_path, tmp_path / "log")
    placed = next(iter(json.loads((tmp_path / "placed.json").read_text())["modules"].values()))["cells"]
    assert {name: placed[name]["attributes"]["NEXTPNR_BEL"] for name in asked} == asked
