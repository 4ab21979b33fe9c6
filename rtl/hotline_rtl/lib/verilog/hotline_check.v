// Reports, in simulation, what must never happen: the simulation stops. Without HOTLINE_CHECKS, as in synthesis, it is empty.
module hotline_check (
    input wire clk,
    input wire rst,
    input wire fault
);
`ifdef HOTLINE_CHECKS
    always @(posedge clk) begin
        if (fault && !rst) begin
            $display("hotline: %m: what must never happen has happened");
            $stop;
        end
    end
`endif
endmodule
