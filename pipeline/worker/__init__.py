"""Frames scored: the Faust agent, its states and their recovery."""
