"""CLEAR, DUMP, LOAD and SWAP: what works on the tracker's contents as a whole."""
