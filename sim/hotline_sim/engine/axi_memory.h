// An AXI4 memory for simulation: many reads outstanding, settable and jittered latency, reordering
// across IDs, interleaved beats, random stalls, faults at chosen addresses (errors, or answers held back), and a
// check of every access against the rules of AXI and the buffers it may touch. It counts what a bench wants to
// know: reads on their way, their latencies, and beats to each group of buffers over time.
//
// One model for both engines: the co-simulation calls it from its clock loop, cocotb through the C
// interface in axi_memory.cpp.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <deque>
#include <queue>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace hotline {

struct Settings {
    uint32_t bus_bytes;
    uint32_t burst_beats;         // longest burst that is allowed
    uint32_t read_latency_min;    // cycles from AR to the first beat
    uint32_t read_latency_max;
    uint32_t write_latency_min;   // cycles from the last W beat to B
    uint32_t write_latency_max;
    uint32_t reorder;             // responses of different IDs may overtake each other
    uint32_t interleave;          // beats of different bursts may alternate
    uint32_t stall[5];            // of AR, R, AW, W, B: out of 256 cycles, on average
    uint64_t seed;
};

struct Inputs {  // what the manager drives
    uint64_t araddr, awaddr, wstrb;
    uint32_t arvalid, arid, arlen, arsize, arburst, rready;
    uint32_t awvalid, awid, awlen, awsize, awburst, wvalid, wlast, bready;
    uint8_t wdata[64];
};

struct Outputs {  // what the memory drives
    uint32_t arready, rvalid, rid, rresp, rlast;
    uint32_t awready, wready, bvalid, bid, bresp;
    uint8_t rdata[64];
};

struct Range {
    uint64_t address, size;
    uint32_t readable, writable;
    uint32_t group;          // for counting, below GROUPS
    uint32_t extra_latency;  // of reads, beside the settings'
};
constexpr uint32_t GROUPS = 32;
constexpr uint32_t HELD = 4;  // a fault's response: none, until the fault is taken away

struct Fault {
    uint64_t address, size;
    uint32_t on_read, on_write, response;
};

struct Statistics {
    uint64_t read_bursts, read_beats, write_bursts, write_beats, most_outstanding_reads, violations;
};

class AxiMemory {
public:
    Outputs out{};
    Statistics statistics{};
    std::string first_violation;

    AxiMemory(const Settings &s, uint64_t base, uint8_t *data, uint64_t size)
        : settings_(s), base_(base), data_(data), size_(size), random_(s.seed * 2 + 1) {
        for (int i = 0; i < 16; i++) next_random();
    }

    void set_ranges(const Range *ranges, uint32_t count) {
        ranges_.assign(ranges, ranges + count);
        std::sort(ranges_.begin(), ranges_.end(),
                  [](const Range &a, const Range &b) { return a.address < b.address; });
    }
    // Answers that faults held back come when there are no faults of that kind any more.
    void set_faults(const Fault *faults, uint32_t count) {
        faults_.assign(faults, faults + count);
        for (const Fault &f : faults_)
            if (f.response == HELD) return;
        for (Read &r : held_reads_) {
            r.ready = now_;
            reads_.push(r);
        }
        for (Response &r : held_responses_) {
            r.ready = now_;
            responses_.push(r);
        }
        held_reads_.clear();
        held_responses_.clear();
        held_read_ids_.clear();
        held_write_ids_.clear();
    }
    // From now on, beats of each group and direction are counted in windows of so many cycles; 0: no more.
    void watch(uint64_t window) {
        window_ = window;
        watched_from_ = now_;
        for (auto &counts : activity_) counts.clear();
        read_occupancy_.assign(read_occupancy_.size(), 0);
        for (auto &counts : latency_) counts.assign(counts.size(), 0);
    }
    const std::vector<uint64_t> &activity(uint32_t group, bool write) const { return activity_[2 * group + write]; }
    const std::vector<uint64_t> &read_occupancy() const { return read_occupancy_; }        // [reads on their way]: cycles
    const std::vector<uint64_t> &latency(uint32_t group) const { return latency_[group]; }  // [cycles, AR to last]: bursts
    bool idle() const { return held_reads_.empty() && held_responses_.empty() && !outstanding_reads_ && pending_writes_.empty() && beats_.empty() && responses_.empty() && !out.bvalid; }

    // What happened at a clock edge, given what both sides drove before it; then drives anew.
    void edge(const Inputs &in, bool reset) {
        now_++;
        if (window_) count(read_occupancy_, outstanding_reads_);
        if (reset) {
            out = Outputs{};
            last_ = Inputs{};
            was_reset_ = true;
            forget();
            return;
        }
        check_stability(in);
        if (in.arvalid && out.arready) take_read(in);
        if (out.rvalid && in.rready) out.rvalid = 0;
        if (in.awvalid && out.awready) take_write(in);
        if (in.wvalid && out.wready) {
            // Data may come before its address (IHI 0022 H, A3.3).
            beats_.push_back({in.wstrb, in.wlast, {}});
            std::memcpy(beats_.back().data, in.wdata, settings_.bus_bytes);
        }
        while (!beats_.empty() && !pending_writes_.empty()) {
            take_data(beats_.front());
            beats_.pop_front();
        }
        if (out.bvalid && in.bready) out.bvalid = 0;
        last_ = in;
        last_out_ = out;

        if (!out.rvalid) offer_read();
        if (!out.bvalid) offer_response();
        out.arready = !stalled(0);
        out.awready = !stalled(2);
        out.wready = !stalled(3);
    }

private:
    struct Read {
        uint64_t ready, sequence, address, taken;
        uint32_t id, beats, done, group;
        bool operator>(const Read &o) const {
            return ready != o.ready ? ready > o.ready : sequence > o.sequence;
        }
    };
    struct Write {
        uint64_t address;
        uint32_t id, beats, done, response;
    };
    struct Beat {
        uint64_t strobe;
        uint32_t last;
        uint8_t data[64];
    };
    struct Response {
        uint64_t ready, sequence;
        uint32_t id, response;
        bool operator>(const Response &o) const {
            return ready != o.ready ? ready > o.ready : sequence > o.sequence;
        }
    };
    template <class T> using Soonest = std::priority_queue<T, std::vector<T>, std::greater<T>>;

    Settings settings_;
    uint64_t base_;
    uint8_t *data_;
    uint64_t size_;
    uint64_t random_, now_ = 0, sequence_ = 0, outstanding_reads_ = 0;
    bool was_reset_ = false;
    std::vector<Range> ranges_;
    std::vector<Fault> faults_;
    Soonest<Read> reads_;
    std::vector<Read> open_;  // bursts whose beats are being sent
    std::deque<Write> pending_writes_;
    std::deque<Beat> beats_;  // data whose turn has not come
    Soonest<Response> responses_;
    std::vector<Read> held_reads_;
    std::vector<Response> held_responses_;
    std::unordered_set<uint32_t> held_read_ids_, held_write_ids_;
    uint64_t window_ = 0, watched_from_ = 0;
    std::vector<uint64_t> activity_[2 * GROUPS], read_occupancy_, latency_[GROUPS];
    std::unordered_map<uint32_t, uint64_t> read_order_, write_order_;  // latest time promised, per ID
    uint64_t read_order_all_ = 0, write_order_all_ = 0;
    Inputs last_{};
    Outputs last_out_{};

    // What is under way, as at a reset: no answer to it will come.
    void forget() {
        reads_ = {};
        responses_ = {};
        open_.clear();
        pending_writes_.clear();
        beats_.clear();
        held_reads_.clear();
        held_responses_.clear();
        held_read_ids_.clear();
        held_write_ids_.clear();
        outstanding_reads_ = 0;
    }

    uint64_t next_random() {
        random_ ^= random_ << 13;
        random_ ^= random_ >> 7;
        random_ ^= random_ << 17;
        return random_ >> 11;
    }
    uint64_t between(uint32_t low, uint32_t high) { return high > low ? low + next_random() % (high - low + 1) : low; }
    static void count(std::vector<uint64_t> &counts, uint64_t at) {
        if (counts.size() <= at) counts.resize(at + 1, 0);
        counts[at]++;
    }
    // The last range that holds something of the beat at `address`.
    const Range *range_of(uint64_t address) const {
        auto after = std::upper_bound(ranges_.begin(), ranges_.end(), address + settings_.bus_bytes - 1,
                                      [](uint64_t a, const Range &r) { return a < r.address; });
        if (after == ranges_.begin() || (after - 1)->address + (after - 1)->size <= address) return nullptr;
        return &*(after - 1);
    }
    bool stalled(int channel) {
        return settings_.stall[channel] && (next_random() & 255) < settings_.stall[channel];
    }

    void violation(const char *what, uint64_t address) {
        if (!statistics.violations++) {
            char text[256];
            std::snprintf(text, sizeof text, "cycle %llu: %s, address 0x%llx", (unsigned long long)now_, what,
                          (unsigned long long)address);
            first_violation = text;
        }
    }

    // IHI 0022 H, A3.2.1: once valid, a channel's contents stay until ready.
    void check_stability(const Inputs &in) {
        if (last_.arvalid && !last_ar_taken_ &&
            (!in.arvalid || in.araddr != last_.araddr || in.arlen != last_.arlen || in.arid != last_.arid))
            violation("AR changed before it was taken", last_.araddr);
        if (last_.awvalid && !last_aw_taken_ &&
            (!in.awvalid || in.awaddr != last_.awaddr || in.awlen != last_.awlen || in.awid != last_.awid))
            violation("AW changed before it was taken", last_.awaddr);
        if (last_.wvalid && !last_w_taken_ &&
            (!in.wvalid || in.wstrb != last_.wstrb || in.wlast != last_.wlast ||
             std::memcmp(in.wdata, last_.wdata, settings_.bus_bytes)))
            violation("W changed before it was taken", 0);
        last_ar_taken_ = in.arvalid && out.arready;
        last_aw_taken_ = in.awvalid && out.awready;
        last_w_taken_ = in.wvalid && out.wready;
    }
    bool last_ar_taken_ = false, last_aw_taken_ = false, last_w_taken_ = false;

    void check_burst(uint64_t address, uint32_t length, uint32_t size, uint32_t burst, const char *) {
        uint64_t bytes = uint64_t(length + 1) * settings_.bus_bytes;
        if ((1u << size) != settings_.bus_bytes) violation("beat size is not the bus width", address);
        if (burst != 1) violation("burst is not INCR", address);
        if (address % settings_.bus_bytes) violation("burst is not aligned to the bus", address);
        if (address / 4096 != (address + bytes - 1) / 4096) violation("burst crosses 4 KiB", address);
        if (length + 1 > settings_.burst_beats) violation("burst is longer than allowed", address);
    }

    bool allowed(uint64_t address, uint64_t bytes, bool write) const {
        if (address < base_ || address + bytes > base_ + size_) return false;
        if (ranges_.empty()) return true;
        auto after = std::upper_bound(ranges_.begin(), ranges_.end(), address,
                                      [](uint64_t a, const Range &r) { return a < r.address; });
        if (after == ranges_.begin()) return false;
        const Range &r = *(after - 1);
        return address + bytes <= r.address + r.size && (write ? r.writable : r.readable);
    }

    bool touches(uint64_t address) const {
        if (address < base_ || address + settings_.bus_bytes > base_ + size_) return false;
        if (ranges_.empty()) return true;
        const Range *range = range_of(address);
        return range && range->readable;
    }

    uint32_t response(uint64_t address, bool write) const {
        for (const Fault &f : faults_)
            if ((write ? f.on_write : f.on_read) && address + settings_.bus_bytes > f.address &&
                address < f.address + f.size)
                return f.response;
        return 0;
    }

    void take_read(const Inputs &in) {
        check_burst(in.araddr, in.arlen, in.arsize, in.arburst, "read");
        uint64_t bytes = uint64_t(in.arlen + 1) * settings_.bus_bytes;
        // Every beat must hold something of a buffer: it may touch neighbours, but not only those.
        for (uint64_t at = in.araddr; at < in.araddr + bytes; at += settings_.bus_bytes)
            if (!touches(at)) violation("read outside the buffers", at);
        const Range *range = range_of(in.araddr);
        uint64_t ready = now_ + between(settings_.read_latency_min, settings_.read_latency_max);
        if (range) ready += range->extra_latency;
        uint64_t &order = settings_.reorder || (range && range->extra_latency) ? read_order_[in.arid] : read_order_all_;
        order = ready = std::max(ready, order);
        Read read{ready, sequence_++, in.araddr, now_, in.arid, in.arlen + 1, 0, range ? range->group : 0};
        statistics.read_bursts++;
        // What is held back also holds what comes after it with the same ID.
        bool held = held_read_ids_.count(in.arid);
        for (uint64_t at = in.araddr; at < in.araddr + bytes; at += settings_.bus_bytes) held |= response(at, false) == HELD;
        if (held) {
            held_read_ids_.insert(in.arid);
            held_reads_.push_back(read);
            outstanding_reads_++;
            return;
        }
        reads_.push(read);
        statistics.most_outstanding_reads = std::max(statistics.most_outstanding_reads, ++outstanding_reads_);
    }

    void offer_read() {
        size_t most_open = settings_.interleave ? 4 : 1;
        while (open_.size() < most_open && !reads_.empty() && reads_.top().ready <= now_) {
            const Read &next = reads_.top();
            bool same_id = false;
            for (const Read &r : open_) same_id |= r.id == next.id;
            if (same_id) break;
            open_.push_back(next);
            reads_.pop();
        }
        if (open_.empty() || stalled(1)) return;
        size_t n = open_.size() > 1 ? next_random() % open_.size() : 0;
        Read &r = open_[n];
        uint64_t address = r.address + uint64_t(r.done) * settings_.bus_bytes;
        if (address >= base_ && address + settings_.bus_bytes <= base_ + size_)
            std::memcpy(out.rdata, data_ + (address - base_), settings_.bus_bytes);
        else
            std::memset(out.rdata, 0xEE, settings_.bus_bytes);
        out.rvalid = 1;
        out.rid = r.id;
        out.rresp = response(address, false) & 3;
        out.rlast = ++r.done == r.beats;
        statistics.read_beats++;
        if (window_) count(activity_[2 * r.group], (now_ - watched_from_) / window_);
        if (out.rlast) {
            if (window_) count(latency_[r.group], now_ + 1 - r.taken);  // it is taken a cycle after it is offered
            open_.erase(open_.begin() + n);
            outstanding_reads_--;
        }
    }

    void take_write(const Inputs &in) {
        check_burst(in.awaddr, in.awlen, in.awsize, in.awburst, "write");
        pending_writes_.push_back({in.awaddr, in.awid, in.awlen + 1, 0, 0});
        statistics.write_bursts++;
    }

    void take_data(const Beat &in) {
        Write &w = pending_writes_.front();
        uint64_t address = w.address + uint64_t(w.done) * settings_.bus_bytes;
        uint32_t fault = response(address, true);
        if (fault) w.response = fault;
        for (uint32_t i = 0; i < settings_.bus_bytes; i += 4) {
            uint32_t strobe = (in.strobe >> i) & 15;
            if (!strobe) continue;
            if (strobe != 15) violation("strobe of a part of a word", address + i);
            if (!allowed(address + i, 4, true)) {
                violation("write outside the buffers", address + i);
                continue;
            }
            if (!fault || fault == HELD) std::memcpy(data_ + (address + i - base_), in.data + i, 4);
        }
        statistics.write_beats++;
        if (window_) {
            const Range *range = range_of(address);
            count(activity_[2 * (range ? range->group : 0) + 1], (now_ - watched_from_) / window_);
        }
        bool last = ++w.done == w.beats;
        if (last != bool(in.last)) violation("WLAST in the wrong place", address);
        if (last) {
            uint64_t ready = now_ + between(settings_.write_latency_min, settings_.write_latency_max);
            uint64_t &order = settings_.reorder ? write_order_[w.id] : write_order_all_;
            order = ready = std::max(ready, order);
            Response answer{ready, sequence_++, w.id, w.response == HELD ? 0 : w.response};
            if (w.response == HELD || held_write_ids_.count(w.id)) {
                held_write_ids_.insert(w.id);
                held_responses_.push_back(answer);
            } else {
                responses_.push(answer);
            }
            pending_writes_.pop_front();
        }
    }

    void offer_response() {
        if (responses_.empty() || responses_.top().ready > now_ || stalled(4)) return;
        out.bvalid = 1;
        out.bid = responses_.top().id;
        out.bresp = responses_.top().response;
        responses_.pop();
    }
};

}  // namespace hotline
