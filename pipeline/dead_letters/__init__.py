"""Dead letters found, shown, and sent again. See README.md."""
