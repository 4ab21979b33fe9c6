"""The Hotline accelerator in Amaranth HDL, its configuration, its registers and Verilog emission."""

#: Version of the RTL, as the VERSION register gives it; the project's version.
VERSION = "0.5.0"
