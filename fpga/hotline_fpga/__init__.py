"""Synthesis, place and route of the emitted Verilog with Yosys and nextpnr.

emitted Verilog ─► harness ─► yosys (flow) ─► netlist ─► nextpnr, seed by seed (flow) ─► report
"""
