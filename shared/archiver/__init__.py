"""Copies archives to another place, frees the volume of what is safe there, and brings it back."""
