"""What users of other clients know, over this library: one module for each of those packages."""
