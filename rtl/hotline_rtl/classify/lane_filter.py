"""A lane's filter: it remembers what the tracker said of recent keys, and answers those itself.

Direct-mapped, ``lane_filter`` entries. Very hot keys would crowd their bank otherwise. It must not answer an access that is
learnt, since the banks must see that; and it is emptied when the hot set may have changed.
Latency: the answer is there in the cycle after the key has come.
"""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from ..config import AcceleratorConfig
from ..interfaces.tracker import result_layout
from ..lib.ram import Ram


class LaneFilter(wiring.Component):
    """Members
    -------
    forget : In(1)
        Empties it.
    learning : In(1)
        It neither answers nor remembers.
    load : In(1), arriving, present : In
        A key comes, if ``present`` one that it may answer, and is ``key`` from the next cycle on.
    key : In
        The key that came last.
    known : Out(1), answer : Out(result_layout)
        The filter knows ``key``; what the tracker said of it.
    write : In(1), written_key, result : In
        The tracker has said ``result`` of a key.
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        super().__init__({
            "forget": In(1), "learning": In(1), "load": In(1), "arriving": In(config.key_bits), "present": In(1),
            "key": In(config.key_bits), "known": Out(1), "answer": Out(result_layout(config)),
            "write": In(1), "written_key": In(config.key_bits), "result": In(result_layout(config)),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        config = self.config
        index_bits = ceil_log2(config.lane_filter)
        low, high = config.bank_bits, config.bank_bits + index_bits
        entry = data.StructLayout({"rest": config.key_bits - index_bits, "result": result_layout(config)})
        m.submodules.ram = ram = Ram(entry.size, config.lane_filter)
        full, usable = Signal(config.lane_filter), Signal()
        write = self.write & ~self.learning
        m.d.comb += [
            ram.r_en.eq(self.load),
            ram.r_addr.eq(self.arriving[low:high]),
            ram.w_en.eq(write),
            ram.w_addr.eq(self.written_key[low:high]),
            ram.w_data.eq(Cat(self.written_key[:low], self.written_key[high:], self.result.as_value())),
        ]
        with m.If(self.load):
            # Not in the cycle in which the entry is being written: then it cannot be read.
            is_written = ram.w_en & (ram.w_addr == self.arriving[low:high])
            m.d.sync += usable.eq(
                full.bit_select(self.arriving[low:high], 1) & self.present & ~self.learning & ~is_written
            )
        remembered = data.View(entry, ram.r_data)
        m.d.comb += [
            self.known.eq(usable & (remembered.rest == Cat(self.key[:low], self.key[high:]))),
            self.answer.eq(remembered.result),
        ]
        with m.If(self.forget):
            m.d.sync += full.eq(0)
        with m.If(write):
            m.d.sync += full.bit_select(self.written_key[low:high], 1).eq(1)
        return m
