"""Synthesis, place and route of the emitted Verilog. Empty in this version: see docs/architecture.md."""
