"""The command `bundle-install`: the air-gapped half."""
