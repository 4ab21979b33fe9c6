"""One step of a training, and what it needs on the device."""
