"""`driftlock topics apply|check|grant`: Kafka's topics as the list says, and who may write an organization's own."""

import os
import sys
from collections.abc import Sequence

from pipeline import access, topics
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


def grant(organization: str, principal: str) -> None:
    """Let a Kafka user write an organization's own source topic, which is made if it is missing, and nothing else.

    Parameters
    ----------
    organization
        Id (UUID) of the organization.
    principal
        The user as Kafka names it: User:<name>.
    """
    name = access.grant(load(os.environ), organization, principal)
    sys.stdout.write(f"{principal} may write {name}\n")
