// A self-checking test bench for any simulator: the registers answer, a CLEAR and a command with an unknown opcode go from
// ring to completion, and the interrupt follows. The project's own benches (cocotb, co-simulation) check everything else.
`include "hotline_sizes.svh"
`timescale 1ns / 1ps

module hotline_tb;
    localparam int WORDS = 4096;
    localparam logic [`HOTLINE_ADDRESS_BITS-1:0] HOST = 'h1000_0000, DEVICE = 'h2000_0000;
    localparam logic [31:0] COMMANDS = 32'h1000_0000, COMPLETIONS = 32'h1000_1000;
    // Registers, as in hotline.rdl.
    localparam logic [11:0] ID = 'h000, VERSION = 'h004, CONTROL = 'h020, IRQ_STATUS = 'h028, COMMAND_BASE_LO = 'h030,
        COMMAND_RING = 'h038, COMMAND_TAIL = 'h03c, COMPLETION_BASE_LO = 'h044, COMPLETION_RING = 'h04c,
        COMPLETION_HEAD = 'h050, COMPLETION_TAIL = 'h054;

    logic clk = 0, rst = 1, irq;
    always #5 clk = ~clk;

    logic [31:0] awaddr, araddr;
    logic awvalid = 0, awready, wvalid = 0, wready, bvalid, bready = 0, arvalid = 0, arready, rvalid, rready = 0;
    logic [31:0] wdata, rdata;
    logic [1:0] bresp, rresp;

`define MASTER(port) \
    logic [`HOTLINE_ID_BITS-1:0] port``_awid, port``_arid, port``_bid, port``_rid; \
    logic [`HOTLINE_ADDRESS_BITS-1:0] port``_awaddr, port``_araddr; \
    logic [7:0] port``_awlen, port``_arlen; \
    logic port``_awvalid, port``_awready, port``_wvalid, port``_wready, port``_wlast, port``_bvalid, port``_bready; \
    logic port``_arvalid, port``_arready, port``_rvalid, port``_rready, port``_rlast; \
    logic [`HOTLINE_BUS_BITS-1:0] port``_wdata, port``_rdata; \
    logic [`HOTLINE_BUS_BITS/8-1:0] port``_wstrb; \
    logic [1:0] port``_bresp, port``_rresp;
`define RAM(port) \
    .clk, .awid(port``_awid), .arid(port``_arid), .awaddr(port``_awaddr), .araddr(port``_araddr), .awlen(port``_awlen), \
    .arlen(port``_arlen), .awvalid(port``_awvalid), .wvalid(port``_wvalid), .wlast(port``_wlast), .bready(port``_bready), \
    .arvalid(port``_arvalid), .rready(port``_rready), .wdata(port``_wdata), .wstrb(port``_wstrb), \
    .awready(port``_awready), .wready(port``_wready), .bvalid(port``_bvalid), .arready(port``_arready), \
    .rvalid(port``_rvalid), .rlast(port``_rlast), .bid(port``_bid), .rid(port``_rid), .bresp(port``_bresp), \
    .rresp(port``_rresp), .rdata(port``_rdata)
`define DUT(port, name) \
    .m_axi_``port``_awid(name``_awid), .m_axi_``port``_arid(name``_arid), .m_axi_``port``_awaddr(name``_awaddr), \
    .m_axi_``port``_araddr(name``_araddr), .m_axi_``port``_awlen(name``_awlen), .m_axi_``port``_arlen(name``_arlen), \
    .m_axi_``port``_awvalid(name``_awvalid), .m_axi_``port``_wvalid(name``_wvalid), .m_axi_``port``_wlast(name``_wlast), \
    .m_axi_``port``_bready(name``_bready), .m_axi_``port``_arvalid(name``_arvalid), .m_axi_``port``_rready(name``_rready), \
    .m_axi_``port``_wdata(name``_wdata), .m_axi_``port``_wstrb(name``_wstrb), .m_axi_``port``_awready(name``_awready), \
    .m_axi_``port``_wready(name``_wready), .m_axi_``port``_bvalid(name``_bvalid), .m_axi_``port``_arready(name``_arready), \
    .m_axi_``port``_rvalid(name``_rvalid), .m_axi_``port``_rlast(name``_rlast), .m_axi_``port``_bid(name``_bid), \
    .m_axi_``port``_rid(name``_rid), .m_axi_``port``_bresp(name``_bresp), .m_axi_``port``_rresp(name``_rresp), \
    .m_axi_``port``_rdata(name``_rdata)

    `MASTER(host)
    `MASTER(dev)
    axi_ram #(.WORDS(WORDS), .BASE(HOST)) host_ram (`RAM(host));
    axi_ram #(.WORDS(WORDS), .BASE(DEVICE)) device_ram (`RAM(dev));

    hotline dut (
        .clk, .rst, .irq,
        .s_axil_awaddr(awaddr[11:0]), .s_axil_awvalid(awvalid), .s_axil_awready(awready), .s_axil_awprot(3'b0),
        .s_axil_wdata(wdata), .s_axil_wstrb(4'hf), .s_axil_wvalid(wvalid), .s_axil_wready(wready),
        .s_axil_bresp(bresp), .s_axil_bvalid(bvalid), .s_axil_bready(bready),
        .s_axil_araddr(araddr[11:0]), .s_axil_arvalid(arvalid), .s_axil_arready(arready), .s_axil_arprot(3'b0),
        .s_axil_rdata(rdata), .s_axil_rresp(rresp), .s_axil_rvalid(rvalid), .s_axil_rready(rready),
        `DUT(host, host), `DUT(dev, dev)
    );

    task automatic write(input logic [11:0] at, input logic [31:0] value);
        bit sent_address = 0, sent_data = 0;
        @(negedge clk) {awaddr, wdata, awvalid, wvalid, bready} = {32'(at), value, 3'b111};
        while (!sent_address || !sent_data) begin
            @(posedge clk);
            sent_address |= awvalid && awready;
            sent_data |= wvalid && wready;
            @(negedge clk) {awvalid, wvalid} = {!sent_address, !sent_data};
        end
        while (!bvalid) @(negedge clk);
        if (bresp != 0) $fatal(1, "a write to register %03h was refused", at);
        @(negedge clk) bready = 0;
    endtask

    task automatic read(input logic [11:0] at, output logic [31:0] value);
        bit sent = 0;
        @(negedge clk) {araddr, arvalid, rready} = {32'(at), 2'b11};
        while (!sent) begin
            @(posedge clk);
            sent = arready;
            @(negedge clk) arvalid = !sent;
        end
        while (!rvalid) @(negedge clk);
        value = rdata;
        if (rresp != 0) $fatal(1, "a read of register %03h was refused", at);
        @(negedge clk) rready = 0;
    endtask

    task automatic expect_register(input logic [11:0] at, input logic [31:0] expected);
        logic [31:0] value;
        read(at, value);
        if (value != expected) $fatal(1, "register %03h is %08h, not %08h", at, value, expected);
    endtask

    // Command `n` of the ring; rings the doorbell and waits for its completion.
    task automatic command(input int n, input logic [31:0] opcode, tag, input logic [7:0] status);
        logic [31:0] at = COMMANDS + 64 * n, answer = COMPLETIONS + 64 * n, done;
        host_ram.set_word(`HOTLINE_ADDRESS_BITS'(at), opcode);
        host_ram.set_word(`HOTLINE_ADDRESS_BITS'(at + 4), tag);
        write(COMMAND_TAIL, n + 1);
        for (int waited = 0; !irq; waited++) begin
            if (waited > 100_000) $fatal(1, "no interrupt after command %0d", n);
            @(negedge clk);
        end
        write(IRQ_STATUS, 1);
        read(COMPLETION_TAIL, done);
        if (done != n + 1) $fatal(1, "%0d completions after command %0d", done, n);
        if (host_ram.word(`HOTLINE_ADDRESS_BITS'(answer)) != tag) $fatal(1, "command %0d: another tag", n);
        if (host_ram.word(`HOTLINE_ADDRESS_BITS'(answer + 4)) != {8'h00, opcode[7:0], 8'h00, status})
            $fatal(1, "command %0d ended with %08h", n, host_ram.word(`HOTLINE_ADDRESS_BITS'(answer + 4)));
        write(COMPLETION_HEAD, n + 1);
    endtask

    initial begin
        repeat (8) @(negedge clk);
        rst = 0;
        expect_register(ID, 32'h484F544C);
        expect_register(VERSION, `HOTLINE_VERSION);
        write(COMMAND_BASE_LO, COMMANDS);
        write(COMMAND_RING, 4);
        write(COMPLETION_BASE_LO, COMPLETIONS);
        write(COMPLETION_RING, 4);
        write(IRQ_STATUS, 1);
        write(CONTROL, 3);
        command(0, 1, 32'h0000_1234, 0);   // CLEAR
        command(1, 99, 32'hcafe_f00d, 1);  // an unknown opcode
        command(2, 1, 32'h0000_0001, 0);
        $display("hotline_tb: registers, three commands and their interrupts: passed");
        $finish;
    end
endmodule
