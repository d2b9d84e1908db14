"""`driftlock accounts prune`: expired tokens, sessions and remembered answers, deleted."""

import os
import sys

from pipeline import jobs
from schemas.settings import load


def prune() -> None:
    """Delete what expired more than a day ago: tokens of e-mails, sessions, remembered answers. Run it every hour."""
    from pipeline.accounts.prune import prune as prune_expired

    with jobs.connect(load(os.environ)) as connection:
        done = prune_expired(connection, jobs.present())
    sys.stdout.write(", ".join(f"{table} {rows}" for table, rows in done.items()) + "\n")
