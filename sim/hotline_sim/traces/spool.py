"""A log that can only be read in order, as a trace whose parts can be had in any: in temporary files without a name."""

import tempfile
from collections.abc import Callable

import numpy as np

from .mapped.file_array import FileArray
from .readers.reader import Reader
from .trace import Samples, Trace, TraceError


class SpooledTrace(Trace):
    """The samples of a reader, on disk in the folder for temporary files; they go when this object, or the process, ends.

    ``progress``: called with samples and the part that has been read. Raises TraceError for a log without samples.
    """

    def __init__(self, reader: Reader, progress: Callable[[int, float], None] = lambda samples, part: None):
        rows, payload = tempfile.TemporaryFile(), tempfile.TemporaryFile()
        samples = 0
        try:
            for chunk in reader.chunks():
                rows.write(np.ascontiguousarray(chunk.samples.rows).data)
                payload.write(np.ascontiguousarray(chunk.samples.payload).data)
                samples += len(chunk.samples.rows)
                progress(samples, chunk.done)
            for file in (rows, payload):
                file.flush()
        except OSError as e:
            raise TraceError(
                f"{reader.name}: after {samples:,} samples, in {tempfile.gettempdir()}: {e.strerror}; TMPDIR names another "
                "folder for them, and `hotline trace make` keeps them"
            ) from e
        if not samples:
            raise TraceError(f"{reader.name}: no samples")
        #: Bytes that held the values seen, for rule=first-seen.
        self.memory = reader.memory
        super().__init__(reader.name, samples, reader.table_of, reader.table_rows, reader.payload_words)
        self.rows = FileArray(rows, np.dtype(np.uint32), (samples, self.accesses), 0)
        self.payload = FileArray(payload, np.dtype(np.uint32), (samples, self.payload_words), 0)

    def _read(self, first: int, last: int) -> Samples:
        return Samples(self.rows[first:last], self.payload[first:last])
