"""A faster ECP5 placement than nextpnr's own, used by ``hotline synth --refine`` only.

netlist ─► output registers ─► floorplan ─► nextpnr places ─► refinement ─► nextpnr routes ─► repair, and route again
"""
