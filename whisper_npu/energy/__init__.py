"""MEASURED joules of the processor's package: which sensor this machine has, and what a run took by it.

No sensor is an NPU's own: XDNA1 has no rail that Linux could read. Where nothing can be read there is no
figure; nothing here estimates.
"""
