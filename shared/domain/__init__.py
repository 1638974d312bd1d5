"""Values and rules of the store: pure, without I/O, clock or framework."""
