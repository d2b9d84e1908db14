"""The parts a machine without containers runs by itself: broker, PostgreSQL, a fake Stripe."""
