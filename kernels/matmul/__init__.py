"""Products of fixed sizes: tiles that the host walks over."""
