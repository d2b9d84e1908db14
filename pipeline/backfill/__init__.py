"""What a file would have told, and cost, before the first paid day. See README.md."""
