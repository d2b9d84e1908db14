"""The flow: packer, agents, sinks, API and command line. The imperative shell around pure code."""
