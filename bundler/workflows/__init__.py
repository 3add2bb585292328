"""One use case per verb."""
