"""Where a wheel is compiled."""
