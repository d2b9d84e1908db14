"""Topics written to PostgreSQL: anomalies and usage, each with its offsets in the same transaction as its rows."""
