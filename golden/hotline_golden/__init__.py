"""The golden model: Hotline as a plain sequential machine in NumPy.

Every byte that the RTL writes is compared with what this package computes.
"""
