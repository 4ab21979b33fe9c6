"""The AXI4 read manager: transfers of several clients in, beats out.

A client asks for a transfer only when it has room for all of its beats, so no client can hold up another, and
``rready`` is high but for the few cycles in which lost answers are given up. Clients are in two groups (`outstanding_table`):
readers of one stream each, and at most one client with many transfers on their way, told apart by a tag. The second
sends only while fewer than ``limit`` of its bursts are unanswered, counted in front of the port's register, so that a limit
of N keeps exactly N on their way. It never holds up the others, whose addresses go first.
Beats of a stream come in the order of its transfers, those of different tags in any order, interleaved.
Latency: 9 cycles from a request to ``arvalid``; 6 from a data beat to the client.
"""

from amaranth.hdl import Cat, Module, Mux, ResetSignal, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from ...config import AcceleratorConfig
from ...interfaces.axi import BURST_INCR, RESP_OKAY, Axi4ReadSignature
from ...interfaces.memory import ReadClientSignature
from ...lib.logic import delayed, without_reset
from ...lib.register_slice import RegisterSlice
from .arbiter import first_of
from .burst_lists import address_layout
from .outstanding_table import LOOKUP_CYCLES, OutstandingTable


def id_lists(config: AcceleratorConfig, streams: int, tagged: bool) -> tuple[int, int, int, int]:
    """How many AXI IDs streams have, and the tagged client; how many bursts each one's list of an ID holds.

    With too few IDs for all, the streams share one. A stream's list holds its whole read-ahead twice over: a chunk may be
    cut at 4 KiB.
    """
    ids = 1 << config.id_bits
    stream_ids = streams if streams + tagged <= ids else 1
    tagged_ids = ids - stream_ids if tagged else 0
    chunk = min(config.burst_limit, config.read_ahead_beats // 2)
    stream_list = 1 << ceil_log2(max(4, 2 * config.read_ahead_beats // chunk))
    tagged_list = 1 << ceil_log2(max(4, -(-2 * config.outstanding_rows // max(1, tagged_ids))))
    return stream_ids, tagged_ids, stream_list, tagged_list


class ReadMaster(wiring.Component):
    """``streams`` clients with one stream each, the first with the highest priority; then, if ``tag_bits``, one more.
    ``cache`` and ``prot``: ARCACHE and ARPROT.

    Members
    -------
    bus : Out(Axi4ReadSignature)
    clients : In(ReadClientSignature).array(streams)
    tagged : In(ReadClientSignature)
        With ``tag_bits`` only.
    limit : In
        Most bursts of the tagged client that are unanswered.
    timeout : In(32)
        Cycles without an answer after which what is outstanding is given up; 0: never.
    drain : In(1), drained : Out(1)
        While high requests not yet sent are forgotten, and so are those that come; every sent one has been answered.
    unanswered : Out
        Bursts of the tagged client on their way, a cycle ago.
    """

    def __init__(
        self, config: AcceleratorConfig, streams: int, tag_bits: int = 0, *, cache: int = 0b0011, prot: int = 0
    ):
        self.config = config
        self.cache, self.prot = cache, prot
        self.streams, self.tag_bits = streams, tag_bits
        found = id_lists(config, streams, bool(tag_bits))
        self.stream_ids, self.tagged_ids, self.stream_list, self.tagged_list = found
        members: dict = {
            "bus": Out(Axi4ReadSignature(config.address_bits, config.bus_bits, config.id_bits)),
            "clients": In(ReadClientSignature(config)).array(streams),
            "timeout": In(32), "drain": In(1), "drained": Out(1),
        }  # fmt: skip
        if tag_bits:
            members |= {
                "tagged": In(ReadClientSignature(config, tag_bits)),
                "limit": In(range(config.outstanding_rows + 1)),
                "unanswered": Out(range(2 * config.outstanding_rows + 2)),
            }
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        config, bus = self.config, self.bus

        # Streams: the first that asks. With an ID for each, the owner is its number; a stream keeps to one ID.
        stream_bits = max(1, ceil_log2(self.streams))
        per_id = self.stream_ids == self.streams
        shares = [[c] for c in range(self.streams)] if per_id else [range(self.streams)]
        groups = []
        for n, members in enumerate(shares):
            group = OutstandingTable(config, n, 1, stream_bits, self.stream_list)
            m.submodules[f"stream_{n}"] = group
            groups.append(group)
            first_of(m, {c: self.clients[c].request for c in members}, group.i)
        if self.tag_bits:
            tagged = OutstandingTable(config, self.stream_ids, self.tagged_ids, self.tag_bits, self.tagged_list)
            m.submodules.tagged = tagged
            groups.append(tagged)
            wiring.connect(m, wiring.flipped(self.tagged.request), tagged.i)

        # The address channel: a choice among registers.
        count = len(groups)
        may, choice = Signal(count), Signal(range(count))
        r_valid = Signal()
        r_id = Signal(config.id_bits, reset_less=True)
        r_last = Signal(reset_less=True)
        r_error = Signal(reset_less=True)
        for n, group in enumerate(groups):
            m.d.comb += may[n].eq(group.o.valid)
        m.submodules.slice = ar = RegisterSlice(address_layout(config))
        if self.tag_bits:
            # Sent is what has been chosen for the port. Both count in the next cycle, but `unanswered` has them only in the one
            # after, and what it compares with the limit later yet: that is at hand for every outcome of the cycles since.
            sent = ar.i.ready & may[count - 1] & (choice == count - 1)
            answered = bus.rvalid & bus.rready & bus.rlast & (bus.rid >= self.stream_ids)
            was_sent, was_answered = delayed(m, sent), delayed(m, answered)
            room, compared = Signal(), {}  # compared: by how many more there may be
            for more in range(-4, 5):
                limit = Signal(range(config.outstanding_rows + 5), name=f"limit_{more + 4}", reset_less=True)
                m.d.sync += limit.eq(Mux(self.limit > more, self.limit - more, 0) if more > 0 else self.limit - more)
                compared[more] = delayed(m, self.unanswered < limit)

            def outcomes(one, other, fits: dict) -> dict:
                """What fits when ``one`` has been sent, the ``other`` answered."""
                return {
                    more: Mux(one, Mux(other, fits[more], fits[more + 1]), Mux(other, fits[more - 1], fits[more]))
                    for more in list(fits)[1:-1]
                }

            then = outcomes(
                was_sent, was_answered, outcomes(delayed(m, was_sent), delayed(m, was_answered), compared)
            )
            before = {more: delayed(m, fits) for more, fits in then.items()}  # all but these two cycles
            m.d.comb += may[count - 1].eq(groups[-1].o.valid & room)
            m.d.sync += [
                self.unanswered.eq(self.unanswered + was_sent - was_answered),
                room.eq(outcomes(sent, answered, outcomes(was_sent, was_answered, before))[0]),
            ]
        for n in reversed(range(count)):
            with m.If(may[n]):
                m.d.comb += choice.eq(n)
        m.d.comb += [
            ar.i.valid.eq(may.any()),
            ar.o.ready.eq(bus.arready),
            bus.arvalid.eq(ar.o.valid & ~ResetSignal()),
            bus.araddr.eq(ar.o.p.address),
            bus.arlen.eq(ar.o.p.length),
            bus.arid.eq(ar.o.p.id),
        ]
        with m.Switch(choice):
            for n, group in enumerate(groups):
                with m.Case(n):
                    m.d.comb += [group.o.ready.eq(ar.i.ready & may[n]), ar.i.p.eq(group.o.p)]

        # Answers go to all groups; whose ID it is looks up whose beat it is.
        hold = delayed(m, Cat(group.hold for group in groups).any())
        beat_data = [Signal(config.bus_bits, reset_less=True, name=f"r{n}_data") for n in range(LOOKUP_CYCLES + 2)]
        m.d.comb += [
            bus.arsize.eq(ceil_log2(config.bus_bytes)),
            bus.arburst.eq(BURST_INCR),
            bus.arcache.eq(self.cache),
            bus.arprot.eq(self.prot),
            bus.rready.eq(~hold),
        ]
        empty = Cat(group.outstanding == 0 for group in groups).all() & ~r_valid & ~ar.o.valid
        m.d.sync += [
            self.drained.eq(empty),
            r_valid.eq(bus.rvalid & bus.rready),
            r_id.eq(bus.rid),
            r_last.eq(bus.rlast),
            r_error.eq(bus.rresp != RESP_OKAY),
            beat_data[0].eq(bus.rdata),
        ]
        m.d.sync += [after.eq(before) for before, after in zip(beat_data, beat_data[1:], strict=False)]
        for group in groups:
            mine = (r_id < group.base + group.ids) & (r_id >= group.base if group.base else 1)
            m.d.comb += [
                group.held.eq(hold),
                group.r_valid.eq(r_valid & mine),
                group.r_id.eq(r_id),
                group.r_last.eq(r_last),
                group.r_error.eq(r_error),
                group.timeout.eq(self.timeout),
                group.drop.eq(self.drain),
            ]
        parts: list = [(self.clients[c], groups[c if per_id else 0], c) for c in range(self.streams)]
        if self.tag_bits:
            parts.append((self.tagged, groups[-1], None))
            tag = without_reset(m, self.tagged.beat_tag)
            m.d.sync += tag.eq(groups[-1].beat_owner)
        for client, group, owner in parts:
            own = 1 if owner is None else group.beat_owner == owner
            m.d.comb += client.beat_data.eq(beat_data[-1])
            m.d.sync += client.beat_valid.eq(group.beat_valid & own)
            for name in ("beat_last", "beat_error", "beat_timeout"):
                m.d.sync += without_reset(m, getattr(client, name)).eq(getattr(group, name))
        return m
