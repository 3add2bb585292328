"""The air-gapped site: its trust, its state, and what is done on its hosts."""
