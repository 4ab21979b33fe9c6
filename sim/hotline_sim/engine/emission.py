"""The Verilog of a configuration, emitted once for each state of the RTL's sources."""

import hashlib
from functools import cache
from importlib import metadata
from pathlib import Path

import hotline_rtl
from hotline_rtl.config import AcceleratorConfig
from hotline_rtl.emit.verilog import TOP, accelerator_verilog

from .toolchain import cached_build


@cache
def _sources_digest() -> str:
    """Changes with any file of the RTL package, and with Amaranth."""
    digest = hashlib.sha256(metadata.version("amaranth").encode())
    root = Path(next(iter(hotline_rtl.__path__)))
    for path in sorted(root.rglob("*")):
        if path.suffix in (".py", ".v", ".rdl"):
            digest.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def emitted_verilog(config: AcceleratorConfig, name: str = TOP) -> str:
    """What ``accelerator_verilog`` gives, from the build folder when it is there already."""
    with cached_build("verilog", config.digest(), name, _sources_digest()) as (folder, built):
        path = folder / f"{name}.v"
        if not built:
            path.write_text(accelerator_verilog(config, name))
        return path.read_text()
