// Simple dual-port memory: one write port, one read port with a registered output that holds its
// value while r_en is low. A read of the word that is being written gives anything: users forward
// explicitly. (Said to the tools by 'x, or they would build a way round the memory for the old word.)
// Contents are undefined at power-up.
module hotline_ram #(
    parameter WIDTH = 32,
    parameter DEPTH = 16,
    parameter ADDRESS_BITS = 4
) (
    input  wire                    clk,
    input  wire                    w_en,
    input  wire [ADDRESS_BITS-1:0] w_addr,
    input  wire [WIDTH-1:0]        w_data,
    input  wire                    r_en,
    input  wire [ADDRESS_BITS-1:0] r_addr,
    output reg  [WIDTH-1:0]        r_data
);
    reg [WIDTH-1:0] storage [0:DEPTH-1];

    always @(posedge clk) begin
        if (w_en) storage[w_addr] <= w_data;
        if (r_en) begin
            r_data <= storage[r_addr];
            if (w_en && w_addr == r_addr) r_data <= {WIDTH{1'bx}};
        end
    end
endmodule
