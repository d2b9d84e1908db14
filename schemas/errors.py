"""One tree of errors. A class's docstring is its default message; `exit_code` is what a command ends with."""


class DriftlockError(Exception):
    """Something DriftLock needs is not as it must be."""

    exit_code = 2

    def __init__(self, message: str = "") -> None:
        super().__init__(message or (type(self).__doc__ or "").strip())


class SettingsError(DriftlockError):
    """A setting is missing or wrong: see .env.example for the list."""


class BrokerUnreachable(DriftlockError):
    """Kafka does not answer: check KAFKA_BROKERS and that the broker runs."""


class DatabaseUnreachable(DriftlockError):
    """PostgreSQL does not answer: check the DATABASE_URL of this process and that the server runs."""


class MissingTopic(DriftlockError):
    """A topic is missing: create it with `driftlock topics apply`."""


class TopicMismatch(DriftlockError):
    """A topic has another number of partitions or another setting than the list of topics says."""


class TopicRecreated(DriftlockError):
    """A topic was deleted and made again since its offsets were stored; nothing is skipped silently."""


class OffsetLost(DriftlockError):
    """A stored offset is no longer in the log: it was removed by retention or the log was cut."""


class GapInFrames(DriftlockError):
    """A frame starts after the next expected place: events are missing between them."""


class FrameError(DriftlockError):
    """Bytes are not a frame of the blocks topic."""


class DeliveryFailed(DriftlockError):
    """Kafka refused a message for good; the process stops before it commits anything behind it."""


class FuseBlown(DriftlockError):
    """Nearly everything that was read lately became a dead letter; the packer stops before it commits more."""


class Fenced(DriftlockError):
    """Another process owns this partition now; what this one did in the meantime was not committed."""


class LiveKeyRefused(DriftlockError):
    """A live Stripe key is set, and STRIPE_ALLOW_LIVE is not: refused, so that no test ever bills anyone."""


class ComponentMissing(DriftlockError):
    """A program that this needs is not on this machine: `make components` says what it lacks."""


class ComponentFailed(DriftlockError):
    """A process of the embedded stack did not start or ended by itself: its log says why."""


class MigrationRefused(DriftlockError):
    """The database's schema does not fit the migrations of this release."""


class PlanChanged(DriftlockError):
    """The file of plans is wrong, or changes a plan version that a database already holds."""


class UnknownPlan(DriftlockError):
    """There is no plan of that name: billing/plans.toml lists them."""


class UnknownOrganization(DriftlockError):
    """There is no organization of that id, or it has no billing period at that time."""


class BillingRefused(DriftlockError):
    """What is asked for would make the books wrong."""


class SchemaMissing(DriftlockError):
    """The database has no schema, or another one than this release needs: run `driftlock db migrate`."""
