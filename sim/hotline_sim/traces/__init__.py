"""Traces: click logs from files, from arrays and from a generator. ``open_trace`` takes a SPEC."""

from .spec import open_trace
from .trace import ArrayTrace, Trace, TraceError

__all__ = ["ArrayTrace", "Trace", "TraceError", "open_trace"]
