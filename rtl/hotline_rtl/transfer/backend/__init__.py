"""AXI4 managers: transfers become bursts, with many outstanding."""
