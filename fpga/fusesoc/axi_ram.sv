// A behavioural AXI4 memory for test benches: INCR bursts, one read and one write at a time.
`include "hotline_sizes.svh"

module axi_ram #(
    parameter int WORDS = 4096,
    parameter logic [`HOTLINE_ADDRESS_BITS-1:0] BASE = '0
) (
    input logic clk,
    input logic [`HOTLINE_ID_BITS-1:0] awid, arid,
    input logic [`HOTLINE_ADDRESS_BITS-1:0] awaddr, araddr,
    input logic [7:0] awlen, arlen,
    input logic awvalid, wvalid, wlast, bready, arvalid, rready,
    input logic [`HOTLINE_BUS_BITS-1:0] wdata,
    input logic [`HOTLINE_BUS_BITS/8-1:0] wstrb,
    output logic awready, wready, bvalid, arready, rvalid, rlast,
    output logic [`HOTLINE_ID_BITS-1:0] bid, rid,
    output logic [1:0] bresp, rresp,
    output logic [`HOTLINE_BUS_BITS-1:0] rdata
);
    localparam int BYTES = `HOTLINE_BUS_BITS / 8;
    logic [7:0] data [4 * WORDS];

    logic writing = 0, reading = 0, answered = 0;
    logic [`HOTLINE_ADDRESS_BITS-1:0] write_at, read_at;
    logic [7:0] left;

    initial foreach (data[i]) data[i] = 0;

    // Word at byte address `at`, which must be a multiple of 4.
    function automatic logic [31:0] word(input logic [`HOTLINE_ADDRESS_BITS-1:0] at);
        for (int i = 0; i < 4; i++) word[8*i +: 8] = data[32'(at - BASE) + i];
    endfunction

    function automatic void set_word(input logic [`HOTLINE_ADDRESS_BITS-1:0] at, input logic [31:0] value);
        for (int i = 0; i < 4; i++) data[32'(at - BASE) + i] = value[8*i +: 8];
    endfunction

    assign awready = !writing && !answered;
    assign wready = writing;
    assign bvalid = answered;
    assign bresp = 2'b00;
    assign arready = !reading;
    assign rvalid = reading;
    assign rlast = left == 0;
    assign rresp = 2'b00;
    always_comb for (int i = 0; i < BYTES; i++) rdata[8*i +: 8] = data[(32'(read_at - BASE) + i) % (4 * WORDS)];

    always_ff @(posedge clk) begin
        if (awready && awvalid) begin
            writing <= 1;
            write_at <= awaddr & ~(`HOTLINE_ADDRESS_BITS'(BYTES) - 1);
            bid <= awid;
        end
        if (wready && wvalid) begin
            for (int i = 0; i < BYTES; i++) if (wstrb[i]) data[32'(write_at - BASE) + i] <= wdata[8*i +: 8];
            write_at <= write_at + `HOTLINE_ADDRESS_BITS'(BYTES);
            if (wlast) {writing, answered} <= 2'b01;
        end
        if (bvalid && bready) answered <= 0;
        if (arready && arvalid) begin
            reading <= 1;
            read_at <= araddr & ~(`HOTLINE_ADDRESS_BITS'(BYTES) - 1);
            rid <= arid;
            left <= arlen;
        end
        if (rvalid && rready) begin
            read_at <= read_at + `HOTLINE_ADDRESS_BITS'(BYTES);
            left <= left - 1;
            if (left == 0) reading <= 0;
        end
    end
endmodule
