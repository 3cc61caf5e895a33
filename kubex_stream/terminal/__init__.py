"""The local end of an interactive session: raw mode, sizes, keys, signals, and descriptors that never block the event loop."""
