"""The host side: driver, limits, and the transports to an accelerator."""
