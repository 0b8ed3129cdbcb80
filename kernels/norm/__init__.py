"""The residual add and the layer norm of rows, in fp32, on all cores."""
