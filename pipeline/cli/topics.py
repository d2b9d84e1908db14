"""`driftlock topics apply` and `driftlock topics check`: Kafka's topics as the list says."""

import os
import sys
from collections.abc import Sequence

from pipeline import topics
from schemas.settings import load


def apply(*, create_time: Sequence[str] = (), organization: Sequence[str] = ()) -> None:
    """Create the topics that are missing and check all of them.

    Parameters
    ----------
    create_time
        Topics that keep the producers' times, for recorded data; refused with a live Stripe key.
    organization
        Organizations (ids) that get a source topic of their own.
    """
    created = topics.apply(load(os.environ), tuple(create_time), tuple(organization))
    sys.stdout.write(f"created: {', '.join(created) or 'nothing'}; all topics are as the list says\n")


def check(*, create_time: Sequence[str] = ()) -> None:
    """Check that all topics are there, with their partitions and settings.

    Parameters
    ----------
    create_time
        Topics that keep the producers' times, for recorded data; refused with a live Stripe key.
    """
    topics.check(load(os.environ), tuple(create_time))
    sys.stdout.write("all topics are as the list says\n")
