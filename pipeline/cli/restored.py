"""`driftlock billing restored` and `driftlock billing unlock`: the sender's lock after PostgreSQL was restored."""

import getpass
import os
import sys
from datetime import UTC, datetime

from pipeline import logs
from pipeline.database import connect
from schemas.settings import load


def restored(*, by: str = "") -> None:
    """Say that PostgreSQL was restored to an older point, before anything is started again.

    Nothing is sent to Stripe until the usage sink has read Kafka again to where it ends now, and `driftlock billing unlock`
    found the ledger equal to what Stripe has. Identifiers get a new epoch, so that none meets an older one.

    Parameters
    ----------
    by
        Who says so, for the audit trail; by default this login.
    """
    from billing import restore
    from pipeline.meter import present

    settings = load(os.environ)
    ends = {partition: log.high for partition, log in logs.usage_logs(settings).items()}
    with connect(settings, None) as connection:
        epoch = restore.lock_sender(connection, ends, by or getpass.getuser(), present())
    sys.stdout.write(
        f"the sender is locked, epoch {epoch}: start `driftlock sink usage`, then run `driftlock billing unlock`\n"
    )


def unlock(*, accept: bool = False, by: str = "", at: datetime | None = None) -> None:
    """Let the sender go on after a restore, once the ledger is rebuilt and nothing differs.

    Parameters
    ----------
    accept
        Where Stripe has an hour otherwise, the ledger is right: it is sent again. Credits that were lost would be billed.
    by
        Who says so, for the audit trail; by default this login.
    at
        Take this for the present (UTC), for recorded data.
    """
    from billing import restore
    from pipeline import meter

    settings = load(os.environ)
    stripe = meter.connect_stripe(settings)
    now = meter.present() if at is None else at if at.tzinfo else at.replace(tzinfo=UTC)
    with connect(settings, None) as connection:
        done = restore.unlock_sender(
            connection,
            stripe,
            meter.find_meter(stripe),
            logs.usage_topic_id(settings),
            by or getpass.getuser(),
            now,
            accept=accept,
        )
    for hour in done.accepted:
        sys.stdout.write(f"{hour.customer_id} {hour.hour:%Y-%m-%dT%H}Z: Stripe {hour.stripe}, ledger {hour.ledger}\n")
    sys.stdout.write(
        f"the sender goes on, epoch {done.epoch}: {done.unsent} hours to send, {len(done.accepted)} to send again\n"
    )
