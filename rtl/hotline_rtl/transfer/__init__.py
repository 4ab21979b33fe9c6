"""Everything that moves between the memories: front ends, mid-ends, back ends, in that order."""
