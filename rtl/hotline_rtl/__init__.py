"""The Hotline accelerator in Amaranth HDL, its configuration, its registers and Verilog emission."""

#: Version of the RTL, as the VERSION register gives it; the project's version.
VERSION = "0.20.0"
VERSION_MAJOR, VERSION_MINOR, VERSION_PATCH = (int(part) for part in VERSION.split("."))
#: The VERSION register's value.
VERSION_NUMBER = VERSION_MAJOR << 16 | VERSION_MINOR << 8 | VERSION_PATCH
