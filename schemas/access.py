"""Who may do what in Kafka: a user for each process, with the least it needs; and for an organization that writes itself.

An organization's user may write its own topic alone, so the principal is the tenant: no header can name another.
"""

from dataclasses import dataclass
from typing import Literal

from schemas.topics import (
    ANOMALIES,
    BLOCKS,
    CONTROL,
    DEAD_LETTERS,
    EVENTS,
    SHARED_SOURCES,
    SOURCES,
    STATES,
    TOPICS,
    USAGE,
    WORKER_APP,
    Topic,
    organization_topic,
)

Operation = Literal["Read", "Write", "Describe", "DescribeConfigs", "Create", "Alter", "AlterConfigs", "Delete"]


@dataclass(frozen=True)
class Grant:
    """Operations on one resource, or on all whose names begin so (`prefix`)."""

    kind: Literal["topic", "group"]
    name: str
    operations: tuple[Operation, ...]
    prefix: bool = False


def _topics(operation: Operation, *topics: Topic) -> tuple[Grant, ...]:
    return tuple(Grant("topic", topic.name, (operation, "Describe")) for topic in topics)


def _groups(*names: str) -> tuple[Grant, ...]:
    return tuple(Grant("group", name, ("Read", "Describe")) for name in names)


_LOOK = tuple(Grant("topic", topic.name, ("Describe", "DescribeConfigs")) for topic in TOPICS)
_ORGANIZATIONS = Grant("topic", f"{EVENTS.name}.", ("Read", "Describe", "DescribeConfigs"), prefix=True)
_ALL: tuple[Operation, ...] = (
    "Read",
    "Write",
    "Describe",
    "DescribeConfigs",
    "Create",
    "Alter",
    "AlterConfigs",
    "Delete",
)

USERS: dict[str, tuple[Grant, ...]] = {
    "packer": (
        *_topics("Read", *SOURCES, CONTROL),
        *_topics("Write", CONTROL, BLOCKS, DEAD_LETTERS),
        _ORGANIZATIONS,
        *_LOOK,
        *_groups("driftlock-packer", f"{CONTROL.name}-reader"),
    ),
    "worker": (
        *_topics("Read", BLOCKS, STATES),
        *_topics("Write", ANOMALIES, USAGE, DEAD_LETTERS, STATES),
        Grant("topic", f"{EVENTS.name}.", ("Describe", "DescribeConfigs"), prefix=True),
        *_LOOK,
        *_groups(WORKER_APP, f"{WORKER_APP}-recovery"),
    ),
    "sink-anomalies": (*_topics("Read", ANOMALIES), *_topics("Write", DEAD_LETTERS), *_groups("sink-anomalies")),
    "sink-usage": (
        *_topics("Read", USAGE),
        *_topics("Write", DEAD_LETTERS),
        Grant("topic", BLOCKS.name, ("Describe",)),
        *_groups("sink-usage"),
    ),
    "api": (*_topics("Write", *SHARED_SOURCES, CONTROL), *_LOOK),
    "console": _topics("Write", CONTROL),
    "control": _topics("Write", CONTROL),
    "collector": _topics("Write", *SHARED_SOURCES),
    # `driftlock topics apply`, and what else a person does: not the user of a process.
    "operator": (Grant("topic", "", _ALL, prefix=True), Grant("group", "", ("Read", "Describe"), prefix=True)),
}


def organization_user(organization_id: str) -> tuple[Grant, ...]:
    """What the user of an organization may: write its own topic."""
    return _topics("Write", organization_topic(organization_id))


def merged(grants: tuple[Grant, ...]) -> tuple[Grant, ...]:
    """One grant a resource, its operations in order."""
    found: dict[tuple[str, str, bool], set[Operation]] = {}
    for grant in grants:
        found.setdefault((grant.kind, grant.name, grant.prefix), set()).update(grant.operations)
    return tuple(
        Grant(kind, name, tuple(o for o in _ALL if o in operations), prefix)  # type: ignore[arg-type]
        for (kind, name, prefix), operations in found.items()
    )
