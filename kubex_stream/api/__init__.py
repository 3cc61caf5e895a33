"""The APIs: one module each, thin.  They build the request, pick the subprotocols, and wrap the session."""
