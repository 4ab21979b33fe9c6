# Packages the accelerator for Vivado's IP catalogue, its interfaces, clock, reset, interrupt and registers recognised.
#
#   hotline verilog --preset alveo --output hotline.v
#   vivado -mode batch -source package_ip.tcl -tclargs hotline.v ip_repo [part [name]]
#
# `name` is that of the top module, as `hotline verilog --name` was given it; hotline by default.
# Not run by this project, which has no Vivado: its tests run this script against stubs of Vivado's commands, and check
# every port that it names against the emitted Verilog.

if {[llength $argv] < 2 || [llength $argv] > 4} {
    error "usage: package_ip.tcl VERILOG OUTPUT_FOLDER ?PART ?NAME??"
}
lassign $argv verilog folder part name
if {$part eq ""} {
    set part xcu250-figd2104-2L-e
}
if {$name eq ""} {
    set name hotline
}
if {![file exists $verilog]} {
    error "$verilog is not there; make it with `hotline verilog --name $name --output $verilog`"
}
# The core has the version of the RTL, MAJOR.MINOR, which the first line of the Verilog names.
set file [open $verilog]
gets $file first_line
close $file
if {![regexp {^// Hotline accelerator (\d+\.\d+)\.\d+, } $first_line -> version]} {
    error "$verilog does not begin with its version; make it with `hotline verilog --name $name --output $verilog`"
}
set here [file dirname [file normalize [info script]]]

create_project -force -in_memory -part $part ${name}_ip
add_files -norecurse $verilog
add_files -fileset constrs_1 -norecurse [file join $here hotline.xdc]
set_property USED_IN {synthesis out_of_context} [get_files hotline.xdc]
set_property top $name [current_fileset]
update_compile_order -fileset sources_1

ipx::package_project -root_dir $folder -vendor hotline -library accelerator -taxonomy /UserIP -import_files -force
set core [ipx::current_core]
set_property name $name $core
set_property version $version $core
set_property display_name "Hotline accelerator" $core
set_property description "Hot-entry tracker, mini-batch fragmenter and embedding gather" $core

# Every signal of an AXI interface, and how its ports are called: PREFIX_signal.
set write_address {AWADDR AWPROT AWVALID AWREADY}
set write_data {WDATA WSTRB WVALID WREADY}
set write_answer {BRESP BVALID BREADY}
set read_address {ARADDR ARPROT ARVALID ARREADY}
set read_data {RDATA RRESP RVALID RREADY}
set lite [concat $write_address $write_data $write_answer $read_address $read_data]
set full [concat $lite {AWID AWLEN AWSIZE AWBURST AWCACHE WLAST BID ARID ARLEN ARSIZE ARBURST ARCACHE RID RLAST}]

proc add_axi {core name mode signals} {
    # An interface that Vivado has inferred already gives way to the one that is spelt out here.
    ipx::remove_bus_interface $name $core
    set interface [ipx::add_bus_interface $name $core]
    set_property abstraction_type_vlnv xilinx.com:interface:aximm_rtl:1.0 $interface
    set_property bus_type_vlnv xilinx.com:interface:aximm:1.0 $interface
    set_property interface_mode $mode $interface
    foreach signal $signals {
        set map [ipx::add_port_map $signal $interface]
        set_property physical_name ${name}_[string tolower $signal] $map
    }
    return $interface
}

set registers [add_axi $core s_axil slave $lite]
foreach port {m_axi_host m_axi_dev} {
    set interface [add_axi $core $port master $full]
    set space [ipx::add_address_space $port $core]
    set_property range 16E $space
    set_property width 64 $space
    set_property master_address_space_ref $port $interface
}

# Registers: 4 KiB of 32-bit words; hotline.ipxact.xml (`make registers`) describes each.
set map [ipx::add_memory_map s_axil $core]
set_property slave_memory_map_ref s_axil $registers
set block [ipx::add_address_block registers $map]
set_property range 4096 $block
set_property width 32 $block
set_property usage register $block

proc add_signal {core name kind parameters} {
    ipx::remove_bus_interface $name $core
    set interface [ipx::infer_bus_interface $name xilinx.com:signal:${kind}_rtl:1.0 $core]
    foreach {parameter value} $parameters {
        set_property value $value [ipx::add_bus_parameter $parameter $interface]
    }
}

add_signal $core clk clock {ASSOCIATED_BUSIF s_axil:m_axi_host:m_axi_dev ASSOCIATED_RESET rst}
add_signal $core rst reset {POLARITY ACTIVE_HIGH}
add_signal $core irq interrupt {SENSITIVITY LEVEL_HIGH}

ipx::create_xgui_files $core
ipx::update_checksums $core
ipx::check_integrity $core
ipx::save_core $core
close_project
