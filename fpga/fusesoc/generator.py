"""What FuseSoC runs to generate the Verilog of a configuration; ``hotline.core`` says with which parameters.

Writes ``hotline.v``, ``hotline_sizes.svh`` (widths of the ports, for test benches) and the core that holds them into the
folder it is run in. Ends with code 1 and one line on a preset or setting that cannot be.
"""

import sys
from pathlib import Path

import yaml

from hotline_rtl import VERSION_NUMBER
from hotline_rtl.config import AcceleratorConfig, preset
from hotline_rtl.verilog import accelerator_verilog


def sizes(config: AcceleratorConfig) -> str:
    """A SystemVerilog header with what a test bench must know."""
    values = {
        "HOTLINE_ADDRESS_BITS": config.address_bits, "HOTLINE_BUS_BITS": config.bus_bits, "HOTLINE_ID_BITS": config.id_bits,
        "HOTLINE_VERSION": f"32'h{VERSION_NUMBER:08x}",
    }  # fmt: skip
    return "".join(f"`define {name} {value}\n" for name, value in values.items())


def main() -> None:
    request = yaml.safe_load(Path(sys.argv[1]).read_text())
    parameters = request.get("parameters") or {}
    unknown = set(parameters) - {"preset", "settings"}
    if unknown:
        sys.exit(f"hotline_verilog: unknown parameter {', '.join(sorted(unknown))}; there are preset and settings")
    try:
        config = preset(parameters.get("preset", "tiny")).with_settings(parameters.get("settings") or [])
    except ValueError as e:
        sys.exit(f"hotline_verilog: {e}")
    Path("hotline.v").write_text(accelerator_verilog(config))
    Path("hotline_sizes.svh").write_text(sizes(config))
    files = [
        {"hotline.v": {"file_type": "verilogSource"}},
        {"hotline_sizes.svh": {"file_type": "systemVerilogSource", "is_include_file": True}},
    ]
    core = {
        "name": request["vlnv"],
        "filesets": {"rtl": {"files": files}},
        "targets": {"default": {"filesets": ["rtl"]}},
    }
    Path(f"{request['vlnv'].split(':')[2]}.core").write_text("CAPI=2:\n" + yaml.safe_dump(core))


if __name__ == "__main__":
    main()
