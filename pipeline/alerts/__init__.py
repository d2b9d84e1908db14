"""E-mails about usage and money, from the outbox."""
