"""SSH signatures over SHA256SUMS."""
