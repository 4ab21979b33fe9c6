"""Takes a model from the registers, checks it, and passes it on to the blocks that use it.

A table's descriptor is checked as a whole before any block sees it; what is wrong sets bits of ``errors``, and the
descriptor goes nowhere. While a bit is set the model is not valid. The golden twin of the check is
``hotline_golden.model.table_errors``.

Latency: a table is passed on 25 cycles after its commit, an access 4. One at a time; ``busy`` meanwhile.
"""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..config import AcceleratorConfig
from ..interfaces.model import STRIDE_BITS, ModelSignature
from ..lib.logic import exceeds, without_reset

#: Names of the error bits, from bit 0 of register ``model_error`` on.
ERRORS = (
    "table_number",
    "table_base",
    "table_rows",
    "table_stride",
    "table_end",
    "first_slot",
    "access_number",
    "sizes",
    "busy",
)
SLOT_BITS = 31


class ModelStore(wiring.Component):
    """Members
    -------
    payload_words, accesses, row_bytes : In(32), sizes_written : In(1)
        The sizes; one of them was just written.
    table_base : In(64), table_rows, table_stride, table_first_slot : In(32), table_resident : In(1)
        A descriptor, as it was written; stable while ``busy``.
    table_commit : In(1), table_number : In(16)
        The descriptor above is that of this table.
    access_commit : In(1), access, access_table : In(16)
        An access belongs to a table.
    reset : In(1)
        Forgets all tables and errors.
    refused : In(1)
        A register of the model was written while a command was under way.
    busy : Out(1)
        A commit has just come or is being checked: no other one may come, and no command may begin.
    errors : Out(9), place : Out(16)
        A bit for each of ``ERRORS``; the table or access that was refused first. Until ``reset``.
    model : Out(ModelSignature)
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        super().__init__({
            "payload_words": In(32), "accesses": In(32), "row_bytes": In(32), "sizes_written": In(1),
            "table_base": In(64), "table_rows": In(32), "table_stride": In(32), "table_first_slot": In(32),
            "table_resident": In(1), "table_commit": In(1), "table_number": In(16),
            "access_commit": In(1), "access": In(16), "access_table": In(16),
            "reset": In(1), "refused": In(1), "busy": Out(1), "errors": Out(len(ERRORS)), "place": Out(16),
            "model": Out(ModelSignature(config)),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        config, model = self.config, self.model

        # Sizes, and whether this configuration can serve them.
        sizes = {name: Signal(32, name=name, reset_less=True) for name in ("payload_words", "accesses", "row_bytes")}
        sample_words = Signal(33, reset_less=True)
        sizes_fit, no_errors = Signal(), Signal()
        m.d.sync += [size.eq(getattr(self, name)) for name, size in sizes.items()]
        m.d.sync += [
            sample_words.eq(self.payload_words + self.accesses),
            sizes_fit.eq(
                (sizes["accesses"] != 0)
                & (sizes["accesses"] < config.max_record_words)
                & (sizes["payload_words"] < config.max_record_words)
                & (sample_words < config.max_record_words)
                & (sizes["row_bytes"] >= 16)
                & (sizes["row_bytes"] <= config.max_row_bytes)
                & (sizes["row_bytes"][:2] == 0)
            ),
            no_errors.eq(self.errors == 0),
            model.valid.eq(sizes_fit & no_errors),
        ]

        # A table ends at base + rows * stride: one bit of the stride a cycle, from the highest on.
        bit = Signal(STRIDE_BITS, reset_less=True)  # one-hot
        stride_bits = Signal(STRIDE_BITS, reset_less=True)
        extent = Signal(config.row_bits + 1 + STRIDE_BITS, reset_less=True)
        rows = self.table_rows[: config.row_bits + 1]
        end = Signal(max(config.address_bits, len(extent)) + 2, reset_less=True)
        slots_end = Signal(33, reset_less=True)
        table_errors, access_errors = Signal(len(ERRORS), reset_less=True), Signal(len(ERRORS), reset_less=True)
        is_access, any_table = Signal(reset_less=True), Signal()
        table = without_reset(m, model.table)
        access = without_reset(m, model.access)

        def error(name: str, *conditions) -> Signal:
            """The error bit, when any of ``conditions`` holds."""
            return Cat(conditions).any() << ERRORS.index(name)

        wrong_table = Mux(is_access, self.access_table, self.table_number) >= config.tables
        unfit = table_errors != 0
        found = Signal(len(ERRORS))
        m.d.comb += [
            self.busy.eq(1),
            model.descriptor.base.eq(self.table_base),
            model.descriptor.rows.eq(self.table_rows),
            model.descriptor.stride.eq(self.table_stride),
            model.descriptor.resident.eq(self.table_resident),
            model.descriptor.first_slot.eq(self.table_first_slot),
            model.payload_words.eq(sizes["payload_words"]),
            model.accesses.eq(sizes["accesses"]),
            model.row_bytes.eq(sizes["row_bytes"]),
            model.sample_words.eq(sample_words),
            found.eq(Mux(is_access, access_errors, table_errors)),
        ]
        m.d.sync += [model.table_write.eq(0), model.access_write.eq(0), model.reset.eq(self.reset)]
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.busy.eq(self.table_commit | self.access_commit)
                m.d.sync += [
                    bit.eq(1 << (STRIDE_BITS - 1)),
                    stride_bits.eq(self.table_stride),
                    extent.eq(0),
                    is_access.eq(self.access_commit),
                    table.eq(Mux(self.access_commit, self.access_table, self.table_number)),
                    access.eq(self.access),
                ]
                with m.If(self.table_commit):
                    m.next = "EXTENT"
                with m.Elif(self.access_commit):
                    m.next = "CHECK"
            with m.State("EXTENT"):
                m.d.sync += [
                    extent.eq((extent << 1) + Mux(stride_bits[-1], rows, 0)),
                    stride_bits.eq(stride_bits << 1),
                    bit.eq(bit >> 1),
                ]
                with m.If(bit[0]):
                    m.next = "END"
            with m.State("END"):
                m.d.sync += [
                    end.eq(self.table_base[: config.address_bits] + extent),
                    slots_end.eq(self.table_first_slot + self.table_rows),
                ]
                m.next = "CHECK"
            with m.State("CHECK"):
                m.d.sync += [
                    table_errors.eq(
                        error("table_number", wrong_table)
                        | error("table_base", self.table_base[:2].any(), self.table_base[config.address_bits :].any())
                        | error("table_rows", self.table_rows == 0, self.table_rows > 1 << config.row_bits)
                        | error(
                            "table_stride",
                            self.table_stride[:2].any(),
                            self.table_stride[STRIDE_BITS:].any(),
                            self.table_stride < sizes["row_bytes"],
                        )
                    ),
                    access_errors.eq(
                        error("table_number", wrong_table) | error("access_number", self.access >= sizes["accesses"])
                    ),
                ]
                m.next = "ENDS"
            with m.State("ENDS"):
                # What is wrong with the end is known only of a descriptor whose fields are right.
                with m.If(~unfit):
                    m.d.sync += table_errors.eq(
                        error("table_end", exceeds(end, config.address_bits))
                        | error("first_slot", self.table_resident & exceeds(slots_end, SLOT_BITS))
                    )
                m.next = "STORE"
            with m.State("STORE"):
                with m.If(found != 0):
                    m.d.sync += self.errors.eq(self.errors | found)
                    with m.If(~self.errors[: ERRORS.index("sizes")].any()):
                        m.d.sync += self.place.eq(
                            Mux(
                                found[ERRORS.index("access_number")],
                                self.access,
                                Mux(is_access, self.access_table, self.table_number),
                            )
                        )
                with m.Else():
                    m.d.sync += [model.table_write.eq(~is_access), model.access_write.eq(is_access)]
                with m.If(~is_access):
                    m.d.sync += any_table.eq(1)
                m.next = "IDLE"
        with m.If(self.sizes_written & any_table):
            m.d.sync += self.errors[ERRORS.index("sizes")].eq(1)
        with m.If(self.refused):
            m.d.sync += self.errors[ERRORS.index("busy")].eq(1)
        with m.If(self.reset):
            m.d.sync += [self.errors.eq(0), self.place.eq(0), any_table.eq(0)]
        return m

    def connect_registers(self, m: Module, registers) -> None:
        """Connects the fields of the model in the register block with the store."""
        m.d.comb += [
            *(
                getattr(self, name).eq(getattr(registers, f"{name}_value"))
                for name in ("payload_words", "accesses", "row_bytes")
            ),
            self.sizes_written.eq(
                registers.payload_words_written | registers.accesses_written | registers.row_bytes_written
            ),
            self.table_base.eq(Cat(registers.table_base_lo_value, registers.table_base_hi_value)),
            self.table_rows.eq(registers.table_rows_value),
            self.table_stride.eq(registers.table_stride_value),
            self.table_first_slot.eq(registers.table_first_slot_value),
            self.table_resident.eq(registers.table_flags_resident),
            self.table_commit.eq(registers.table_commit_written),
            self.table_number.eq(registers.table_commit_table),
            self.access_commit.eq(registers.access_commit_written),
            self.access.eq(registers.access_commit_access),
            self.access_table.eq(registers.access_commit_table),
            self.reset.eq(registers.model_reset_written),
            self.refused.eq(registers.refused),
            registers.hold.eq(self.busy),
            registers.model_error_place.eq(self.place),
            *(getattr(registers, f"model_error_{name}").eq(self.errors[n]) for n, name in enumerate(ERRORS)),
            registers.status_model_error.eq(self.errors.any()),
        ]
