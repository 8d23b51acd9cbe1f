"""The trainer, the game it plays, and what watches both."""
