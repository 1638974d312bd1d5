"""The shared file system: files that survive power loss."""
