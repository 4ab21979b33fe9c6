"""What happens to an exception that reaches the command line: one line for the user, and an exit code.

What the user can mend ends with UNUSABLE. Anything else is a fault of this project: it ends with FAULT, and its traceback
goes into a file. An interrupt, or SIGTERM, ends as it does for other programs, after everything has been cleaned up.
"""

import signal
import sys
import tempfile
import traceback
from collections.abc import Callable

import typer
from rich.markup import escape
from typer.core import TyperGroup

from .options import FAULT, INTERRUPTED, TERMINATED, UNUSABLE, err


class Terminated(KeyboardInterrupt):
    """SIGTERM has come: the same cleaning up as for an interrupt."""


class Group(TyperGroup):
    """Commands whose interrupts and ends of files do not become Click's "Aborted!" with exit code 1."""

    def invoke(self, ctx):
        try:
            return super().invoke(ctx)
        except Terminated:
            err.print("hotline: terminated")
            raise typer.Exit(TERMINATED) from None
        except KeyboardInterrupt:
            err.print("hotline: interrupted")
            raise typer.Exit(INTERRUPTED) from None
        except EOFError as e:
            raise RuntimeError(f"a file ended too early: {e}") from e


def _terminate(*_) -> None:
    raise Terminated


def _say(text: str) -> None:
    err.print(f"[bold red]hotline:[/] {escape(text)}", highlight=False, soft_wrap=True)


def run(app: Callable[[], None]) -> None:
    """Runs ``app``; exits with a code of its own for whatever is raised."""
    from hotline_fpga.tools import FpgaToolError
    from hotline_sim.engine.toolchain import ToolError
    from hotline_sim.host.errors import CommandError, DriverError

    signal.signal(signal.SIGTERM, _terminate)
    try:
        app()
    except (ValueError, OSError, ToolError, FpgaToolError, DriverError, CommandError) as e:
        _say(str(e))
        sys.exit(UNUSABLE)
    except MemoryError as e:
        _say(f"there is not enough memory: {e or 'no more can be had'}. Use fewer samples or smaller tables")
        sys.exit(UNUSABLE)
    except Exception as e:
        with tempfile.NamedTemporaryFile("w", prefix="hotline-", suffix=".traceback.txt", delete=False) as file:
            file.write(" ".join(sys.argv) + "\n\n" + traceback.format_exc())
        first = (str(e).splitlines() or [""])[0][:200]
        _say(
            f"an unexpected {type(e).__name__}: {first}. This is a fault of hotline. {file.name} has the command and the "
            "traceback: please send it to the project's issue tracker"
        )
        sys.exit(FAULT)
