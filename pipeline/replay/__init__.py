"""The past of `blocks` scored again in a shadow, and compared with what was told. See README.md."""
