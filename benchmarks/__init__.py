"""Benchmarks: this library, the libraries underneath and other clients, side by side; ``python -m benchmarks`` runs them."""
