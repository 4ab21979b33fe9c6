"""The way of requests through a tracker bank: where each looks, when it may go on, and what is in each stage.

    stage   1: a key goes to a set of each array, any other request to the set that it names
            2: is an earlier request, in stages 4 to 12, about to change the same line, or the same word of the sketch?
            3: then it waits, and so do all requests behind it
            4 to 12: they always move

A request per cycle.
"""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..config import AcceleratorConfig
from ..interfaces.tracker import BankOp, bank_request_layout, weight_fields
from ..lib.logic import delayed, is_one_of
from ..lib.register_slice import RegisterSlice
from .placement import cell_place, index_hash
from .sketch import cells_layout, sketch_address_bits

#: Stages that a request passes, from the one in which it is read.
FIRST_STAGE, LAST_STAGE = 4, 12
#: Stages in which the next line of a hit, and of a miss, is known.
HIT_STAGE, MISS_STAGE = 7, 11


def places_layout(config: AcceleratorConfig) -> data.StructLayout:
    """Where a request looks: a set of each array, and a word of each array of the sketch."""
    set_bits = config.index_bits - config.bank_bits
    words = {"words": data.ArrayLayout(sketch_address_bits(config), config.cell_arrays)} if config.has_sketch else {}
    return data.StructLayout({"sets": data.ArrayLayout(set_bits, config.tracker_arrays), **words})


def placed_request_layout(config: AcceleratorConfig) -> data.StructLayout:
    """A request on its way through a bank: what it does, and where. ``named``: the array of a READ, WRITE, SWAP or MARK.
    ``line_swept``, ``word_swept``: a CLEAR, HALVE or FORGET has a number that a line, a word of the sketch has, too."""
    sketch = {"word_swept": 1, "cells": cells_layout(config)} if config.has_sketch else {}
    return data.StructLayout({
        "op": BankOp, "tag": config.tag_bits, **weight_fields(config), "lane": range(max(2, config.lanes)),
        "by_key": 1, "learns": 1, "looks": 1, "changes": 1,
        "named": range(max(2, config.tracker_arrays)), "line_swept": 1, "places": places_layout(config), **sketch,
    })  # fmt: skip


class BankRequests(wiring.Component):
    """Members
    -------
    i : In(stream of bank_request_layout)
    valid : Out(LAST_STAGE + 1), at : Out(array of placed_request_layout)
        Of each stage from FIRST_STAGE on: whether a request is there, and the request.
    looks_up : Out(places_layout)
        Where the request in stage 3 looks, whether it leaves or not.
    hit : In(LAST_STAGE + 1)
        Of each stage from HIT_STAGE on: the key of the request there was found in what is learnt.
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        super().__init__({
            "i": In(stream.Signature(bank_request_layout(config))), "valid": Out(LAST_STAGE + 1),
            "at": Out(data.ArrayLayout(placed_request_layout(config), LAST_STAGE + 1)),
            "looks_up": Out(places_layout(config)), "hit": In(LAST_STAGE + 1),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        config = self.config
        arrays = config.tracker_arrays
        address_bits = config.index_bits - config.bank_bits
        about = placed_request_layout(config)
        if config.has_sketch:
            word_bits = sketch_address_bits(config)

        # Stage 1: hashing. A key goes to a set of each array, any other request to the set that it names. The stage is a register
        # slice: the crossbar may lie far away, and its `ready` must not depend on stage 3 in the same cycle.
        go = Signal()  # stages 1 to 3 move
        m.submodules.requests = requests = RegisterSlice(bank_request_layout(config), keeps_gaps=True)
        wiring.connect(m, wiring.flipped(self.i), requests.i)
        m.d.comb += requests.o.ready.eq(go)
        s1 = requests.o.p
        s2_valid, s2 = Signal(), Signal(about, reset_less=True)
        s3_valid, s3 = Signal(), Signal(about, reset_less=True)
        by_key = is_one_of(s1.op, BankOp.LOOKUP, BankOp.LEARN, BankOp.FOLLOW, BankOp.SCORE)
        sweeps = is_one_of(s1.op, BankOp.CLEAR, BankOp.HALVE, BankOp.FORGET)
        learns = is_one_of(s1.op, BankOp.LEARN, BankOp.FOLLOW)
        index = s1.set[:address_bits]
        named = s1.set[address_bits:] if len(s1.set) > address_bits else Const(0)  # the array, for READ and WRITE
        with m.If(go):
            m.d.sync += [
                s2_valid.eq(requests.o.valid),
                s3_valid.eq(s2_valid),
                s3.eq(s2),
                s2.op.eq(s1.op),
                s2.tag.eq(s1.tag),
                s2.lane.eq(s1.lane),
                s2.by_key.eq(by_key),
                s2.learns.eq(learns),
                s2.looks.eq(by_key | (s1.op == BankOp.READ)),
                s2.changes.eq(learns | sweeps | (s1.op == BankOp.WRITE)),
                s2.named.eq(named),
                s2.line_swept.eq((named == 0) | ~sweeps),
            ]
            if config.scores_samples:
                m.d.sync += s2.shift.eq(s1.shift)
            for a in range(arrays):
                own = index_hash(config, a, s1.tag)[config.bank_bits :]
                m.d.sync += s2.places.sets[a].eq(index ^ Mux(by_key, own, 0))
            if config.has_sketch:
                m.d.sync += s2.word_swept.eq((s1.set >> word_bits) == 0)
                for a in range(config.cell_arrays):
                    word, cell = cell_place(config, a, index, s1.tag)
                    m.d.sync += [s2.places.words[a].eq(Mux(sweeps, s1.set[:word_bits], word)), s2.cells[a].eq(cell)]

        valid = {k: Signal(name=f"s{k}_valid") for k in range(FIRST_STAGE, LAST_STAGE + 1)}
        at = {k: Signal(about, name=f"s{k}", reset_less=True) for k in valid}
        leaves = s3_valid & go
        m.d.sync += [valid[FIRST_STAGE].eq(leaves), at[FIRST_STAGE].eq(s3)]
        for k in range(FIRST_STAGE + 1, LAST_STAGE + 1):
            m.d.sync += [valid[k].eq(valid[k - 1]), at[k].eq(at[k - 1])]

        # Stages 2 and 3: which request in a later stage changes the same line or word? Those stages move while 1 to 3 stand.
        def meets(a, b):
            ours, theirs = ([x for name, _ in places_layout(config) for x in getattr(of, name)] for of in (a, b))
            return Cat(x == y for x, y in zip(ours, theirs, strict=True)).any()

        # meet[k]: the request in stage 3 looks at what the one in stage k changes. Not after HIT_STAGE for a hit, whose next
        # line is known by then.
        meet = {k: Signal(name=f"meets_s{k}") for k in range(FIRST_STAGE, LAST_STAGE + 1)}
        for k in meet:
            is_there, before = (leaves, s3) if k == FIRST_STAGE else (valid[k - 1], at[k - 1])
            seen = s2_valid & is_there & s2.looks & before.changes & meets(s2.places, before.places)
            met = Mux(go, seen, meet[k - 1] if k > FIRST_STAGE else 0)
            m.d.sync += meet[k].eq(met & ~self.hit[k - 1] if k > HIT_STAGE + 1 else met)
        waits = Signal()
        # A miss in HIT_STAGE writes its line in MISS_STAGE - HIT_STAGE cycles, and a hit in stage 3 would write one in as many.
        # Both cannot be written at once, so the LEARN in stage 3 waits. Only `hit` of one stage is late: `go` takes two LUTs.
        assert MISS_STAGE - HIT_STAGE == HIT_STAGE - 3
        clashes = delayed(m, valid[HIT_STAGE - 1] & at[HIT_STAGE - 1].changes) & s3.learns
        m.d.comb += [
            waits.eq(
                Cat(meet[k] for k in meet if k not in (HIT_STAGE, MISS_STAGE)).any()
                | (~self.hit[HIT_STAGE] & (meet[HIT_STAGE] | clashes))
            ),
            go.eq(~(s3_valid & waits)),
        ]
        m.d.comb += [
            self.looks_up.eq(s3.places),
            self.valid.eq(Cat(valid.get(k, 0) for k in range(LAST_STAGE + 1))),
            self.at.eq(Cat(at.get(k, Const(0, about.size)) for k in range(LAST_STAGE + 1))),
        ]
        return m
