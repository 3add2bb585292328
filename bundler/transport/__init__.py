"""The way to a host: run one command there and talk to it."""
