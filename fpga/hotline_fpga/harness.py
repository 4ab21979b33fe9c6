"""A top level for timing: every port of the accelerator behind a register, in shift registers with four pins.

A board would not bring out 1,000 port bits, and a tool that had to place them at pins would measure its own wires. So
all inputs come from one long shift register and all outputs go, added up, into another; no path from a pin to the accelerator, or
back, counts. It adds two flip-flops for each bit, and a LUT for each output bit, in block
``harness``.
"""

import re

TOP = "hotline_timing"
UNTOUCHED = ("clk", "rst")


def ports(verilog: str, top: str = "hotline") -> dict[str, tuple[int, bool]]:
    """Width in bits of each port of the module ``top`` in emitted Verilog, and whether it is an input."""
    module = re.search(rf"^module {top}\(.*?^endmodule", verilog, re.M | re.S)
    if not module:
        raise ValueError(f"there is no module {top} in this Verilog")
    found = re.findall(r"^  (input|output) (?:\[(\d+):0\] )?(\w+)\s*;", module[0], re.M)
    return {name: (int(high or 0) + 1, direction == "input") for direction, high, name in found}


def harness_verilog(verilog: str, clock_pad: str) -> str:
    """Verilog of the module ``hotline_timing`` for an ECP5, around the module ``hotline`` of ``verilog``. The clock comes in
    at ``clock_pad``."""
    known = {name: port for name, port in ports(verilog).items() if name not in UNTOUCHED}
    inputs = [(name, bits) for name, (bits, is_input) in known.items() if is_input]
    outputs = [(name, bits) for name, (bits, is_input) in known.items() if not is_input]
    in_bits, out_bits = (sum(bits for _, bits in some) for some in (inputs, outputs))
    connections = ["        .clk(clk), .rst(reset)"]
    for bus, some in (("harness_given", inputs), ("outs", outputs)):
        low = 0
        for name, bits in some:
            connections.append(f"        .{name}({bus}[{low + bits - 1}:{low}])")
            low += bits
    connected = ",\n".join(connections)
    return f"""module {TOP} (input clock, input rst, input shift_in, output shift_out);
    wire clk;
    (* BEL="{clock_pad}" *) TRELLIS_IO #(.DIR("INPUT")) pad (.B(clock), .O(clk));
    reg reset;
    reg [{in_bits - 1}:0] harness_in, harness_given;
    reg [{out_bits - 1}:0] harness_seen, harness_out;
    wire [{out_bits - 1}:0] outs;
    always @(posedge clk) begin
        reset <= rst;
        harness_in <= {{harness_in[{in_bits - 2}:0], shift_in}};
        harness_given <= harness_in;
        harness_seen <= outs;
        harness_out <= {{harness_out[{out_bits - 2}:0], 1'b0}} ^ harness_seen;
    end
    assign shift_out = harness_out[{out_bits - 1}];
    hotline dut (
{connected}
    );
endmodule
"""
