"""The GPU side: training in PyTorch on the micro-batches that the accelerator wrote. Needs the extra ``train``."""
