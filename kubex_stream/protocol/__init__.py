"""Sans-I/O: what goes over the wire, as tables and pure functions.  Standard library only; no clock, no socket, no event loop."""
