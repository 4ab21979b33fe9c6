"""What a command needs beyond the core installation, looked for before it begins."""

from importlib.util import find_spec

from hotline_sim.engine.toolchain import ToolError

#: The extra of ``pip install 'hotline-accelerator[EXTRA]'`` that brings a module.
EXTRAS = {
    "cocotb": "cocotb", "cocotbext.axi": "cocotb", "torch": "train", "sklearn": "train", "matplotlib": "study",
    "numba": "study", "simpy": "study",
}  # fmt: skip


def is_there(module: str) -> bool:
    """Whether ``module`` could be imported; nothing is."""
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):  # its package is not there, or somebody has put None in its place
        return False


def need(what: str, *modules: str, instead: str = "") -> None:
    """Raises ToolError when a module that ``what`` needs is missing: which, how to get it, and what to do ``instead``."""
    missing = [module for module in modules if not is_there(module)]
    if missing:
        extras = ",".join(dict.fromkeys(EXTRAS[module] for module in missing))
        raise ToolError(
            f"{what} needs {', '.join(missing)}: `pip install 'hotline-accelerator[{extras}]'`, or in a checkout "
            f"`.venv/bin/pip install -c constraints.txt -e '.[{extras}]'`" + (f"; or {instead}" if instead else "")
        )
