"""Advice is followed: a situation makes a message, its remedy is read from it, and it helps.

What is followed is read from the text itself, so that a message that comes to say something else
is followed in its new form. `helpers` has what all files share; `components`, what plug-ins break.
"""
