"""The bundle format: writer, reader, verification."""
