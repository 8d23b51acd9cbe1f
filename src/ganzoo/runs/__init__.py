"""The folder of a run: read, written, compared and checked."""
