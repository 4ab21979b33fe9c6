"""What FuseSoC runs to generate the Verilog of a configuration; ``hotline.core`` says with which parameters.

Writes ``NAME.v``, ``NAME_sizes.svh`` (widths of the ports, for test benches) and the core that holds them into the
folder it is run in. NAME is parameter ``name``, or ``hotline``. Ends with code 1 and one line on a preset, setting or name
that cannot be.
"""

import sys
from pathlib import Path

import yaml

from hotline_rtl import VERSION_NUMBER
from hotline_rtl.config import AcceleratorConfig, preset
from hotline_rtl.emit.verilog import TOP, accelerator_verilog

PARAMETERS = ("preset", "settings", "name")


def sizes(config: AcceleratorConfig, name: str) -> str:
    """A SystemVerilog header with what a test bench must know."""
    values = {
        "ADDRESS_BITS": config.address_bits, "BUS_BITS": config.bus_bits, "ID_BITS": config.id_bits,
        "VERSION": f"32'h{VERSION_NUMBER:08x}",
    }  # fmt: skip
    return "".join(f"`define {name.upper()}_{what} {value}\n" for what, value in values.items())


def main() -> None:
    request = yaml.safe_load(Path(sys.argv[1]).read_text())
    parameters = request.get("parameters") or {}
    unknown = set(parameters) - set(PARAMETERS)
    if unknown:
        sys.exit(
            f"hotline_verilog: unknown parameter {', '.join(sorted(unknown))}; there are {', '.join(PARAMETERS)}"
        )
    name = str(parameters.get("name", TOP))
    try:
        config = preset(parameters.get("preset", "tiny")).with_settings(parameters.get("settings") or [])
        text = accelerator_verilog(config, name)
    except ValueError as e:
        sys.exit(f"hotline_verilog: {e}")
    Path(f"{name}.v").write_text(text)
    Path(f"{name}_sizes.svh").write_text(sizes(config, name))
    files = [
        {f"{name}.v": {"file_type": "verilogSource"}},
        {f"{name}_sizes.svh": {"file_type": "systemVerilogSource", "is_include_file": True}},
    ]
    core = {
        "name": request["vlnv"],
        "filesets": {"rtl": {"files": files}},
        "targets": {"default": {"filesets": ["rtl"]}},
    }
    Path(f"{request['vlnv'].split(':')[2]}.core").write_text("CAPI=2:\n" + yaml.safe_dump(core))


if __name__ == "__main__":
    main()
