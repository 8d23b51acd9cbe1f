"""Files: how they are written, locked, checksummed and read."""
