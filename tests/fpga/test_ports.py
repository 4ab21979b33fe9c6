"""What vendor tools look for: interfaces recognised by their port names."""

from hotline_fpga.harness import ports
from hotline_rtl.config import preset
from hotline_rtl.verilog import accelerator_verilog

AXI4 = """awid awaddr awlen awsize awburst awcache awprot awvalid awready wdata wstrb wlast wvalid wready
bid bresp bvalid bready arid araddr arlen arsize arburst arcache arprot arvalid arready
rid rdata rresp rlast rvalid rready""".split()
AXI4_LITE = """awaddr awprot awvalid awready wdata wstrb wvalid wready bresp bvalid bready
araddr arprot arvalid arready rdata rresp rvalid rready""".split()


def test_ports_are_the_interfaces_and_nothing_else():
    expected = {"clk", "rst", "irq"} | {f"s_axil_{s}" for s in AXI4_LITE}
    for port in ("m_axi_host", "m_axi_dev"):
        expected |= {f"{port}_{s}" for s in AXI4}
    assert set(ports(accelerator_verilog(preset("tiny")))) == expected
