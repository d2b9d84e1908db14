"""What is said: topics, wire formats, models, settings, errors, migrations."""
