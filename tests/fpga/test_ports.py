"""What vendor tools look for: interfaces recognised by their port names."""

import re

from hotline_fpga.harness import ports
from hotline_sim.engine.emission import emitted_verilog

from ..configurations import LEAST, ODD, tiny

AXI4 = """awid awaddr awlen awsize awburst awcache awprot awvalid awready wdata wstrb wlast wvalid wready
bid bresp bvalid bready arid araddr arlen arsize arburst arcache arprot arvalid arready
rid rdata rresp rlast rvalid rready""".split()
AXI4_LITE = """awaddr awprot awvalid awready wdata wstrb wvalid wready bresp bvalid bready
araddr arprot arvalid arready rdata rresp rvalid rready""".split()


def test_ports_are_the_interfaces_and_nothing_else():
    expected = {"clk", "rst", "irq"} | {f"s_axil_{s}" for s in AXI4_LITE}
    for port in ("m_axi_host", "m_axi_dev"):
        expected |= {f"{port}_{s}" for s in AXI4}
    assert set(ports(emitted_verilog(tiny(LEAST)))) == expected


def test_memory_attributes_are_those_of_the_configuration():
    config = tiny(ODD)
    text = emitted_verilog(config)
    found = {
        name: int(value, 16)
        for name, value in re.findall(r"assign (m_axi_[a-z]+_a[rw](?:cache|prot)) = \d'h(\w);", text)
    }
    expected = {"m_axi_host": (15, 1), "m_axi_dev": (2, 3)}
    assert expected["m_axi_host"] == (config.host_axcache, config.host_axprot)
    assert expected["m_axi_dev"] == (config.device_axcache, config.device_axprot)
    assert found == {
        f"{port}_{channel}{what}": value
        for port, values in expected.items()
        for channel in ("ar", "aw")
        for what, value in zip(("cache", "prot"), values, strict=True)
    }
