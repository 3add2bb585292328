"""Turn requirements and constraints into exact versions."""
