"""The scripts for Vivado, run against stubs of its commands: what they name is what the emitted Verilog has."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from hotline_fpga.harness import ports
from hotline_rtl import VERSION, VERSION_MAJOR, VERSION_MINOR
from hotline_sim.engine.emission import emitted_verilog

from ..configurations import LEAST, tiny

VIVADO = Path(__file__).parents[2] / "fpga" / "vivado"
STUBS = Path(__file__).with_name("vivado_stubs.tcl")
#: What an emitted file begins with.
FIRST_LINE = f"// Hotline accelerator {VERSION}, BSD-2-Clause. Configuration 0:\n"
TCLSH = shutil.which("tclsh")
needs_tcl = pytest.mark.skipif(not TCLSH, reason="no tclsh on this machine (Debian: apt install tcl)")


def vivado(script: str, *arguments) -> subprocess.CompletedProcess:
    command = [str(TCLSH), str(STUBS), str(VIVADO / script), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


@pytest.fixture(scope="module")
def port_names() -> set[str]:
    return set(ports(emitted_verilog(tiny(LEAST))))


@needs_tcl
def test_the_packaged_ip_has_the_version_of_the_rtl(tmp_path):
    verilog = tmp_path / "hotline.v"
    verilog.write_text(FIRST_LINE)
    done = vivado("package_ip.tcl", verilog, tmp_path / "ip")
    assert done.returncode == 0, done.stderr
    assert re.search(rf"^set_property version {VERSION_MAJOR}.{VERSION_MINOR} ", done.stdout, re.M), "the RTL's"
    verilog.write_text("module hotline;")
    done = vivado("package_ip.tcl", verilog, tmp_path / "ip")
    assert done.returncode == 1 and "does not begin with its version" in done.stderr


@needs_tcl
def test_every_port_is_mapped(tmp_path, port_names):
    verilog = tmp_path / "hotline.v"
    verilog.write_text(FIRST_LINE)
    done = vivado("package_ip.tcl", verilog, tmp_path / "ip")
    mapped = set(re.findall(r"^set_property physical_name (\S+)", done.stdout, re.M))
    signals = set(re.findall(r"^ipx::infer_bus_interface (\w+) xilinx.com:signal", done.stdout, re.M))
    assert mapped | signals == port_names and signals == {"clk", "rst", "irq"}
    for port in mapped:
        prefix, signal = port.rsplit("_", 1)
        assert re.search(rf"^ipx::add_port_map {signal.upper()} \w*{prefix}", done.stdout, re.M)
    assert "set_property value s_axil:m_axi_host:m_axi_dev" in done.stdout
    assert done.stdout.rstrip().endswith("close_project")


@needs_tcl
def test_another_name_of_the_top_module_is_passed_on(tmp_path):
    verilog = tmp_path / "acme.v"
    verilog.write_text(FIRST_LINE)
    done = vivado("package_ip.tcl", verilog, tmp_path / "ip", "xcu50-fsvh2104-2-e", "acme")
    assert done.returncode == 0, done.stderr
    assert "set_property top acme" in done.stdout and re.search(r"^set_property name acme ", done.stdout, re.M)
    done = vivado("block_design.tcl", tmp_path, tmp_path / "project", "xcu50-fsvh2104-2-e", "acme")
    assert done.returncode == 0 and "get_ipdefs hotline:accelerator:acme:*" in done.stdout


@needs_tcl
def test_the_block_design_connects_every_interface_once(tmp_path, port_names):
    done = vivado("block_design.tcl", tmp_path, tmp_path / "project")
    assert done.returncode == 0, done.stderr
    interfaces = re.findall(r"^get_bd_intf_pins hotline/(\w+)", done.stdout, re.M)
    pins = re.findall(r"^get_bd_pins hotline/(\w+)", done.stdout, re.M)
    assert sorted(interfaces) == ["m_axi_dev", "m_axi_host", "s_axil"] and sorted(pins) == ["clk", "irq", "rst"]
    assert all(any(port.startswith(interface) for port in port_names) for interface in interfaces)
    assert len(re.findall(r"^assign_bd_address", done.stdout, re.M)) == 3


@needs_tcl
@pytest.mark.parametrize("script", ["package_ip.tcl", "block_design.tcl"])
def test_wrong_arguments_end_with_the_usage(script):
    done = vivado(script, "one")
    assert done.returncode == 1 and done.stderr.startswith(f"usage: {script}")


@needs_tcl
def test_verilog_that_is_not_there_is_told_with_the_remedy(tmp_path):
    done = vivado("package_ip.tcl", "nowhere.v", tmp_path)
    assert (
        done.returncode == 1 and "nowhere.v is not there; make it with `hotline verilog --name hotline" in done.stderr
    )


def test_constraints_name_ports_that_exist(port_names):
    constraints = (VIVADO / "hotline.xdc").read_text()
    assert set(re.findall(r"get_ports (\w+)", constraints)) == {"clk"} <= port_names
