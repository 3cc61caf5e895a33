"""The load server: as much of an API server as streams need, made to send and count faster than any client."""
