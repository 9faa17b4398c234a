"""Events and blocks to numbers."""
