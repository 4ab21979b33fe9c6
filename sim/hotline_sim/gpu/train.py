"""``hotline train`` as a module, for torchrun: ``torchrun --nproc-per-node N -m hotline_sim.gpu.train`` and its options."""

import sys

from ..cli import main

if __name__ == "__main__":
    sys.argv[1:1] = ["train"]
    main()
