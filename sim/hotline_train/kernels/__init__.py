"""What a step does with rows, as kernels: in Triton for a GPU, in PyTorch for a CPU."""
