"""A repo host: the script that runs there, and the conversation with it."""
