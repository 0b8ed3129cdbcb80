"""The device without hardware."""
