"""Watches without any I/O: from bytes to events, and what to ask the server next."""
