"""A stateful fake of Stripe for tests and the demo: see README.md here. `python -m pipeline.embedded.stripe_fake`."""
