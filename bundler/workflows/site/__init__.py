"""Use cases of the air-gapped half, one per verb."""
