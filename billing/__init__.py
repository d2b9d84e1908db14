"""Money: plans, ledger, metering. Connections and clocks are arguments."""
