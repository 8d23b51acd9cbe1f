"""What users hold: a generator, its bundle, its card, the Hub, and conversion."""
