// The co-simulation: the Verilated accelerator, its clock and its two memories in one shared library.
#include <memory>
#include <string>

#include "Vhotline.h"
#include "axi_memory.h"
#include "verilated.h"
#ifdef HOTLINE_WAVES
#include "verilated_vcd_c.h"
#endif

using namespace hotline;

// A check in the RTL has failed (hotline_check.v, which has printed where); Verilator calls this for $stop.
static thread_local std::string failed_check;
void vl_stop(const char *file, int line, const char *) {
    failed_check = std::string("a check of the RTL, which has printed its name: ") + file + ":" + std::to_string(line);
}

namespace {

// Copies between the model's ports of one prefix and the memory model's structures.
#define CONNECT(PREFIX)                                                                             \
    void sample_##PREFIX(Vhotline *t, Inputs &in, uint32_t bytes) {                                 \
        in.arvalid = t->PREFIX##_arvalid; in.arid = t->PREFIX##_arid; in.araddr = t->PREFIX##_araddr; \
        in.arlen = t->PREFIX##_arlen; in.arsize = t->PREFIX##_arsize; in.arburst = t->PREFIX##_arburst; \
        in.rready = t->PREFIX##_rready;                                                             \
        in.awvalid = t->PREFIX##_awvalid; in.awid = t->PREFIX##_awid; in.awaddr = t->PREFIX##_awaddr; \
        in.awlen = t->PREFIX##_awlen; in.awsize = t->PREFIX##_awsize; in.awburst = t->PREFIX##_awburst; \
        in.wvalid = t->PREFIX##_wvalid; in.wlast = t->PREFIX##_wlast; in.bready = t->PREFIX##_bready; \
        if (in.wvalid) {                                                                            \
            in.wstrb = t->PREFIX##_wstrb;                                                           \
            std::memcpy(in.wdata, &t->PREFIX##_wdata, bytes);                                       \
        }                                                                                           \
    }                                                                                               \
    void drive_##PREFIX(Vhotline *t, const Outputs &o, uint32_t bytes) {                            \
        t->PREFIX##_arready = o.arready; t->PREFIX##_rvalid = o.rvalid; t->PREFIX##_rid = o.rid;    \
        t->PREFIX##_rresp = o.rresp; t->PREFIX##_rlast = o.rlast;                                   \
        if (o.rvalid) std::memcpy(&t->PREFIX##_rdata, o.rdata, bytes);                              \
        t->PREFIX##_awready = o.awready; t->PREFIX##_wready = o.wready;                             \
        t->PREFIX##_bvalid = o.bvalid; t->PREFIX##_bid = o.bid; t->PREFIX##_bresp = o.bresp;        \
    }
CONNECT(m_axi_host)
CONNECT(m_axi_dev)

class Cosim {
public:
    AxiMemory host, device;
    uint64_t cycles = 0;
    std::string fault;  // where checks have failed

    Cosim(const Settings &hs, uint64_t host_base, uint8_t *host_data, uint64_t host_size, const Settings &ds,
          uint64_t device_base, uint8_t *device_data, uint64_t device_size, const char *waves)
        : host(hs, host_base, host_data, host_size), device(ds, device_base, device_data, device_size),
          bytes_(hs.bus_bytes), context_(new VerilatedContext) {
        // Registers and memories hold anything at power-up.
        context_->randReset(2);
        context_->randSeed(int(hs.seed & 0x7fffffff) + 1);
        top_.reset(new Vhotline(context_.get()));
#ifdef HOTLINE_WAVES
        context_->traceEverOn(true);
        if (waves && *waves) {
            trace_.reset(new VerilatedVcdC);
            top_->trace(trace_.get(), 99);
            trace_->open(waves);
        }
#endif
        top_->s_axil_awvalid = top_->s_axil_wvalid = top_->s_axil_bready = 0;
        top_->s_axil_arvalid = top_->s_axil_rready = 0;
        drive_m_axi_host(top_.get(), host.out, bytes_);
        drive_m_axi_dev(top_.get(), device.out, bytes_);
        reset(4);
        cycle();
    }
    void reset(uint64_t length) {
        top_->rst = 1;
        for (uint64_t i = 0; i < length; i++) cycle();
        top_->rst = 0;
        // AXI4, A3.1.2: a valid may rise at an edge after the reset, and not before.
        top_->clk = 0;
        top_->eval();
        if (top_->s_axil_bvalid || top_->s_axil_rvalid || top_->m_axi_host_arvalid || top_->m_axi_host_awvalid ||
            top_->m_axi_host_wvalid || top_->m_axi_dev_arvalid || top_->m_axi_dev_awvalid || top_->m_axi_dev_wvalid)
            fault += "a port: a valid is high after reset";
    }
    ~Cosim() {
#ifdef HOTLINE_WAVES
        if (trace_) trace_->close();
#endif
        top_->final();
    }

    void cycle() {
        top_->clk = 0;
        top_->eval();
        dump();
        sample_m_axi_host(top_.get(), host_in_, bytes_);
        sample_m_axi_dev(top_.get(), device_in_, bytes_);
        top_->clk = 1;
        top_->eval();
        dump();
        host.edge(host_in_, top_->rst);
        device.edge(device_in_, top_->rst);
        drive_m_axi_host(top_.get(), host.out, bytes_);
        drive_m_axi_dev(top_.get(), device.out, bytes_);
        cycles++;
        if (!failed_check.empty()) {
            fault += failed_check;
            failed_check.clear();
        }
    }

    // Registers. Each returns the response, or -1 when there is none within a thousand cycles.
    int write(uint32_t address, uint32_t value) {
        top_->s_axil_awvalid = top_->s_axil_wvalid = 1;
        top_->s_axil_awaddr = address;
        top_->s_axil_wdata = value;
        top_->s_axil_wstrb = 15;
        top_->s_axil_bready = 1;
        bool taken = false;
        for (int i = 0; i < 1000; i++) {
            top_->clk = 0;
            top_->eval();
            bool ready = top_->s_axil_awready, valid = top_->s_axil_bvalid;
            int response = top_->s_axil_bresp;
            cycle();
            if (!taken && ready) {
                taken = true;
                top_->s_axil_awvalid = top_->s_axil_wvalid = 0;
            }
            if (taken && valid) {
                top_->s_axil_bready = 0;
                return response;
            }
        }
        return -1;
    }
    int read(uint32_t address, uint32_t *value) {
        top_->s_axil_arvalid = 1;
        top_->s_axil_araddr = address;
        top_->s_axil_rready = 1;
        bool taken = false;
        for (int i = 0; i < 1000; i++) {
            top_->clk = 0;
            top_->eval();
            bool ready = top_->s_axil_arready, valid = top_->s_axil_rvalid;
            int response = top_->s_axil_rresp;
            *value = top_->s_axil_rdata;
            cycle();
            if (!taken && ready) {
                taken = true;
                top_->s_axil_arvalid = 0;
            }
            if (taken && valid) {
                top_->s_axil_rready = 0;
                return response;
            }
        }
        return -1;
    }

    // Begins a write without effect and a read, and leaves their answers.
    void leave_access(uint32_t address) {
        top_->s_axil_awvalid = top_->s_axil_wvalid = top_->s_axil_arvalid = 1;
        top_->s_axil_awaddr = top_->s_axil_araddr = address;
        top_->s_axil_wstrb = 0;
        top_->s_axil_bready = top_->s_axil_rready = 0;
        for (int i = 0; i < 20; i++) {
            cycle();
            if (i == 2) top_->s_axil_awvalid = top_->s_axil_wvalid = top_->s_axil_arvalid = 0;
        }
    }

    // Runs until the interrupt line is high, or for `limit` cycles; returns whether it is high.
    int wait(uint64_t limit) {
        for (uint64_t i = 0; i < limit && !top_->irq && fault.empty(); i++) cycle();
        return top_->irq;
    }

private:
    uint32_t bytes_;
    std::unique_ptr<VerilatedContext> context_;
    std::unique_ptr<Vhotline> top_;
    Inputs host_in_{}, device_in_{};
#ifdef HOTLINE_WAVES
    std::unique_ptr<VerilatedVcdC> trace_;
    uint64_t time_ = 0;
    void dump() {
        if (trace_) trace_->dump(time_);
        time_ += 5;
    }
#else
    void dump() {}
#endif
};

}  // namespace

extern "C" {
Cosim *cosim_create(const Settings *hs, uint64_t host_base, uint8_t *host_data, uint64_t host_size,
                    const Settings *ds, uint64_t device_base, uint8_t *device_data, uint64_t device_size,
                    const char *waves) {
    return new Cosim(*hs, host_base, host_data, host_size, *ds, device_base, device_data, device_size, waves);
}
void cosim_destroy(Cosim *c) { delete c; }
int cosim_write(Cosim *c, uint32_t address, uint32_t value) { return c->write(address, value); }
int cosim_read(Cosim *c, uint32_t address, uint32_t *value) { return c->read(address, value); }
int cosim_wait(Cosim *c, uint64_t limit) { return c->wait(limit); }
void cosim_run(Cosim *c, uint64_t cycles) {
    for (uint64_t i = 0; i < cycles && c->fault.empty(); i++) c->cycle();
}
void cosim_leave_access(Cosim *c, uint32_t address) { c->leave_access(address); }
void cosim_reset(Cosim *c, uint64_t cycles) { c->reset(cycles); }
const char *cosim_fault(Cosim *c) { return c->fault.c_str(); }
uint64_t cosim_cycles(Cosim *c) { return c->cycles; }
AxiMemory *cosim_memory(Cosim *c, int device) { return device ? &c->device : &c->host; }
}
