"""``python -m hotline_cli``: the command as a module, which is what ``torchrun -m`` takes."""

from .main import main

main()
