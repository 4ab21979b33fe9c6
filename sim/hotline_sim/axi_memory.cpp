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
}
