"""A board with the accelerator behind two small memories, and a serial line to a computer.

serial line ─► UartReceiver ─► SerialBridge ─┬─ AXI4-Lite ─► accelerator ═ AXI4 ═► AxiMemory (host), AxiMemory (device)
             ◄ UartTransmitter ◄             └─ word ports ──────────────────────────────┘
"""
