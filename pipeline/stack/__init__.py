"""The whole product on one machine: components, processes, their supervision and what is seen of them."""
