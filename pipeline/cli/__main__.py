"""`python -m pipeline.cli`: the same as `driftlock`."""

from pipeline.cli.main import main

main()
