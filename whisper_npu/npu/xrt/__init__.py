"""The NPU through pyxrt. Only this folder may import it."""
