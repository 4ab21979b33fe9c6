// The memory model behind a C interface, for cocotb.
#include "axi_memory.h"

using namespace hotline;

extern "C" {
AxiMemory *memory_create(const Settings *s, uint64_t base, uint8_t *data, uint64_t size) {
    return new AxiMemory(*s, base, data, size);
}
void memory_destroy(AxiMemory *m) { delete m; }
void memory_set_ranges(AxiMemory *m, const Range *r, uint32_t n) { m->set_ranges(r, n); }
void memory_set_faults(AxiMemory *m, const Fault *f, uint32_t n) { m->set_faults(f, n); }
void memory_edge(AxiMemory *m, const Inputs *in, Outputs *out, int reset) {
    m->edge(*in, reset);
    *out = m->out;
}
void memory_statistics(AxiMemory *m, Statistics *s) { *s = m->statistics; }
const char *memory_violation(AxiMemory *m) { return m->first_violation.c_str(); }
int memory_idle(AxiMemory *m) { return m->idle(); }
void memory_watch(AxiMemory *m, uint64_t window) { m->watch(window); }
// Copies up to `room` counts, and returns how many there are. What: 0 reads on their way; 1 latencies of a group's
// bursts; 2 its read beats in each window; 3 its written beats.
uint64_t memory_counts(AxiMemory *m, int what, uint32_t group, uint64_t *counts, uint64_t room) {
    const std::vector<uint64_t> &found = what == 0   ? m->read_occupancy()
                                         : what == 1 ? m->latency(group)
                                                     : m->activity(group, what == 3);
    std::copy_n(found.begin(), std::min<uint64_t>(room, found.size()), counts);
    return found.size();
}
}
