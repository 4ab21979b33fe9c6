"""Verilog of the accelerator, or of one block."""
