# Stands in for Vivado: every command that a script uses, and a record of what it was asked, a line each.
# argv: the script, and its arguments.

set record {}
proc note {args} {
    lappend ::record $args
    # An object, named after what was asked for.
    return [join [lrange $args 1 end] _]
}
proc unknown {args} {
    foreach known {
        create_project add_files set_property get_files current_fileset update_compile_order close_project current_project
        update_ip_catalog get_ipdefs create_bd_design create_bd_cell get_bd_intf_pins get_bd_pins get_bd_addr_spaces get_bd_addr_segs
        connect_bd_intf_net connect_bd_net make_bd_intf_pins_external make_bd_pins_external assign_bd_address
        validate_bd_design save_bd_design make_wrapper
        ipx::package_project ipx::current_core ipx::remove_bus_interface ipx::add_bus_interface ipx::add_port_map
        ipx::add_address_space ipx::add_memory_map ipx::add_address_block ipx::infer_bus_interface ipx::add_bus_parameter
        ipx::create_xgui_files ipx::update_checksums ipx::check_integrity ipx::save_core
    } {
        if {[lindex $args 0] eq $known} {
            return [note {*}$args]
        }
    }
    error "no such command in Vivado: [lindex $args 0]"
}
namespace eval ipx {}

set script [lindex $argv 0]
set argv [lrange $argv 1 end]
set argc [llength $argv]
if {[catch {source $script} message]} {
    puts stderr $message
    exit 1
}
puts [join $record \n]
