"""Where bytes come from: indexes, git, directories."""
