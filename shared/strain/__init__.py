"""Strain: segments joined to contiguous samples."""
