"""The mathematics of detection: pure functions over state, integers on the scoring path."""
