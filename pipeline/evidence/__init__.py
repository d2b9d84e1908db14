"""Evidence of one anomaly in a signed file, its verification, and why an event was or was not one. See README.md."""
