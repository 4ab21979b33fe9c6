"""Types that blocks in different rooms share."""
