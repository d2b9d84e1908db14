"""A small typed client of our API for events and anomalies; README.md has an example."""

from pipeline.client.connection import Connection, Refused, Unreachable, connect
from pipeline.client.events import Event, Rejected, Sent, send
from pipeline.client.feed import Anomaly, Seen, Severity, Status, anomalies, anomaly, follow, set_status

__all__ = [
    "Anomaly",
    "Connection",
    "Event",
    "Refused",
    "Rejected",
    "Seen",
    "Sent",
    "Severity",
    "Status",
    "Unreachable",
    "anomalies",
    "anomaly",
    "connect",
    "follow",
    "send",
    "set_status",
]
