"""Group commit: requests that arrive together share their syncs."""
