# Timing constraints of the accelerator alone, out of context: one clock, and a reset that is synchronous to it.
# In a block design the clock comes with its own constraint, and this file is used for out-of-context synthesis only.
create_clock -name clk -period 4.000 [get_ports clk]

# What stands outside is registered: AXI register slices, or SmartConnect.
set_input_delay -clock clk 1.000 [get_ports -filter {DIRECTION == IN && NAME !~ "clk"}]
set_output_delay -clock clk 1.000 [get_ports -filter {DIRECTION == OUT}]
