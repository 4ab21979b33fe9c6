"""What runs the RTL: Verilated builds, the compiled co-simulation, cocotb, the memory model."""
