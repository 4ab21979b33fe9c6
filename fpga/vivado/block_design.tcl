# A block design for an Alveo card: the accelerator behind the XDMA block in its bridge mode.
#
#   vivado -mode batch -source block_design.tcl -tclargs ip_repo project_folder [part [name]]
#
# `name` is that of the packaged IP; hotline by default.
#
#   BAR 0 of the card  --> xdma M_AXI_B --> SmartConnect --> registers (s_axil)
#   m_axi_host, m_axi_dev --> SmartConnect --> xdma S_AXI_B --> addresses of the PCIe bus:
#       host memory (pinned pages), and the GPU's BAR for peer-to-peer transfers
#
# The bridge, not the DMA engine, since the accelerator itself is the master of all its transfers. Its addresses are bus
# addresses, as they come: what the host driver puts into commands must be what the IOMMU expects.
# Not run by this project, which has no Vivado and no card: its tests run this script against stubs of Vivado's commands,
# and check every interface and pin of the accelerator that it connects. Pins of the card are in the board's own XDC.

if {[llength $argv] < 2 || [llength $argv] > 4} {
    error "usage: block_design.tcl IP_REPOSITORY PROJECT_FOLDER ?PART ?NAME??"
}
lassign $argv repository folder part name
if {$part eq ""} {
    set part xcu250-figd2104-2L-e
}
if {$name eq ""} {
    set name hotline
}

create_project -force -part $part hotline_card $folder
set_property ip_repo_paths [list $repository] [current_project]
update_ip_catalog
create_bd_design card

proc block {vlnv name {settings {}}} {
    set cell [create_bd_cell -type ip -vlnv $vlnv $name]
    if {[llength $settings]} {
        set_property -dict $settings $cell
    }
    return $cell
}

proc join_interfaces {from to} {
    connect_bd_intf_net [get_bd_intf_pins $from] [get_bd_intf_pins $to]
}

proc join_pins {from args} {
    foreach to $args {
        connect_bd_net [get_bd_pins $from] [get_bd_pins $to]
    }
}

# The newest version of the core that package_ip.tcl has put into the catalogue.
set core [lindex [get_ipdefs hotline:accelerator:$name:*] 0]
if {$core eq ""} {
    error "no core hotline:accelerator:$name in the catalogue; package_ip.tcl makes it"
}
block $core hotline
block xilinx.com:ip:xdma:4.1 xdma {
    CONFIG.functional_mode AXI_Bridge
    CONFIG.mode_selection Advanced
    CONFIG.pl_link_cap_max_link_width X16
    CONFIG.pl_link_cap_max_link_speed 8.0_GT/s
    CONFIG.axi_data_width 512_bit
    CONFIG.axisten_freq 250
    CONFIG.en_axi_slave_if true
    CONFIG.en_axi_master_if true
    CONFIG.pf0_bar0_enabled true
    CONFIG.pf0_bar0_scale Kilobytes
    CONFIG.pf0_bar0_size 4
    CONFIG.pciebar2axibar_0 0x0000000000000000
}
block xilinx.com:ip:util_ds_buf:2.2 refclk {CONFIG.C_BUF_TYPE IBUFDSGTE}
block xilinx.com:ip:smartconnect:1.0 to_registers {CONFIG.NUM_SI 1 CONFIG.NUM_MI 1}
block xilinx.com:ip:smartconnect:1.0 to_memory {CONFIG.NUM_SI 2 CONFIG.NUM_MI 1}
block xilinx.com:ip:util_vector_logic:2.0 reset {CONFIG.C_OPERATION not CONFIG.C_SIZE 1}

# The card's edge.
make_bd_intf_pins_external -name pcie_refclk [get_bd_intf_pins refclk/CLK_IN_D]
make_bd_intf_pins_external -name pcie [get_bd_intf_pins xdma/pcie_mgt]
make_bd_pins_external -name pcie_perst_n [get_bd_pins xdma/sys_rst_n]
join_pins refclk/IBUF_OUT xdma/sys_clk_gt
join_pins refclk/IBUF_DS_ODIV2 xdma/sys_clk

# One clock, 250 MHz, that of the bridge.
join_pins xdma/axi_aclk hotline/clk to_registers/aclk to_memory/aclk
join_pins xdma/axi_aresetn reset/Op1 to_registers/aresetn to_memory/aresetn
join_pins reset/Res hotline/rst
join_pins hotline/irq xdma/usr_irq_req

join_interfaces xdma/M_AXI_B to_registers/S00_AXI
join_interfaces to_registers/M00_AXI hotline/s_axil
join_interfaces hotline/m_axi_host to_memory/S00_AXI
join_interfaces hotline/m_axi_dev to_memory/S01_AXI
join_interfaces to_memory/M00_AXI xdma/S_AXI_B

assign_bd_address -offset 0x0 -range 4K -target_address_space [get_bd_addr_spaces xdma/M_AXI_B] \
    [get_bd_addr_segs hotline/s_axil/registers]
foreach port {m_axi_host m_axi_dev} {
    assign_bd_address -offset 0x0 -range 16E -target_address_space [get_bd_addr_spaces hotline/$port] \
        [get_bd_addr_segs xdma/S_AXI_B/BAR0]
}

validate_bd_design
save_bd_design
make_wrapper -files [get_files card.bd] -top -import
close_project
