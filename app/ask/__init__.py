"""Asking a question of one's own, watching it being answered, and the list of one's own questions."""
