"""The packer: source topics in, frames out. See README.md."""
