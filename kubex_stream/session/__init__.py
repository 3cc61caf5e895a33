"""The multiplexers that drive the sans-I/O protocol over a WebSocketConnection."""
