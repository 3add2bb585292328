"""Every wheel of a lock, fetched or built."""
