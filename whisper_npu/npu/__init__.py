"""Matrix products on the NPU: contracts, plans, devices. Knows nothing of Whisper."""
