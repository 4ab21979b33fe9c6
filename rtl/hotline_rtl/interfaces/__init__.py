"""Types that blocks of several rooms share: layouts, bus signatures, contracts between rooms. No blocks."""
