"""Parameters that every layer shares."""
