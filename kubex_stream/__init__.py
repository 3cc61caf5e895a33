"""Kubernetes exec and attach for async Python."""
