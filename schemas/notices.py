"""What is told to a tenant: the payloads of the outbox, by kind. E-mail, webhooks and chat all say these.

Times are milliseconds of UTC since 1970; money is whole cents of US dollars.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal
from uuid import UUID

from schemas.models import Message, Severity, Stream


class Notice(Message):
    """What all notices share."""

    v: Literal[1] = 1
    organization_id: UUID
    at: int


class UsageThreshold(Notice):
    """Usage crossed a threshold of the period: a percentage of the included units, the first unit over them, or a spend.

    `threshold`: percent (percent, forecast), units (overage), cents (spend). `full_on`: the day on which all included units
    will be used, if usage goes on as in the last days; YYYY-MM-DD in UTC, None where it is not within the period.
    """

    type: Literal["usage.threshold"] = "usage.threshold"
    alert: Literal["forecast", "percent", "overage", "spend"]
    threshold: int
    used: int
    included: int
    cap: int | None
    plan: str
    period_start: int
    period_end: int
    overage_cents: int
    full_on: str | None


class UsageCapReached(Notice):
    """The units up to the cap are used. soft: detection goes on unbilled; block: and HTTP intake answers 429."""

    type: Literal["usage.cap_reached"] = "usage.cap_reached"
    mode: Literal["soft", "block"]
    used: int
    included: int
    cap: int
    plan: str
    period_start: int
    period_end: int
    overage_cents: int


class BillingPaymentFailed(Notice):
    """A payment of an invoice failed. `grace_until`: anomalies are shown until then; None where they are not now."""

    type: Literal["billing.payment_failed"] = "billing.payment_failed"
    invoice_id: str
    amount_due_cents: int
    currency: str
    attempt: int
    next_attempt_at: int | None
    grace_until: int | None
    hosted_url: str | None


class BillingDunning(Notice):
    """Access changed because of payments: a step of dunning. `until` is the end of the grace."""

    type: Literal["billing.dunning"] = "billing.dunning"
    was: Literal["ok", "grace", "suspended", "cancelled"]
    state: Literal["ok", "grace", "suspended", "cancelled"]
    until: int | None
    invoice_id: str | None


class BillingPlanChanged(Notice):
    """The plan changes, or changed, at `from_at`."""

    type: Literal["billing.plan_changed"] = "billing.plan_changed"
    was: str
    plan: str
    from_at: int


class BillingTrialEnding(Notice):
    """A trial ends at `ends_at`; from then on the plan costs its price."""

    type: Literal["billing.trial_ending"] = "billing.trial_ending"
    plan: str
    ends_at: int


class AlarmRinging(Notice):
    """To whoever runs this, not to a tenant (the organization is all zeros): something rings since `since`."""

    type: Literal["alarm.ringing"] = "alarm.ringing"
    kind: str
    subject: str
    said: str
    since: int


class Addressed(Notice):
    """What goes to a person, not to an organization's address. `to` and `token` are forgotten once it is delivered."""

    to: str
    token: str


class AccountVerify(Addressed):
    """Somebody signs up with this e-mail: the token finishes it."""

    type: Literal["account.verify"] = "account.verify"


class AccountExists(Addressed):
    """Somebody signs up with this e-mail, which has an account already. No token."""

    type: Literal["account.exists"] = "account.exists"


class AccountReset(Addressed):
    """A user asked for a new password: the token sets one."""

    type: Literal["account.reset"] = "account.reset"


class AccountInvited(Addressed):
    """An organization invites somebody: the token makes a member of who holds it."""

    type: Literal["account.invited"] = "account.invited"
    role: Literal["owner", "admin", "member", "viewer"]


class AnomalyTold(Message):
    """What is told of an anomaly: its sentence, and no event. `surprisal` in 2^-16 bit; `last_at`: of its last event so far."""

    id: UUID
    revision: int
    stream: Stream
    event_type: str
    kind: str
    severity: Severity
    created_at: int
    last_at: int
    count: int
    open: bool
    surprisal: int
    sentence: str
    detector_version: str


class AnomalyNotice(Notice):
    """What alerts of a rule share. `held`: episodes of the same group that were held back since it was last told."""

    rule_id: UUID
    rule: str
    anomaly: AnomalyTold
    held: int


class AnomalyCreated(AnomalyNotice):
    """A rule tells an episode for the first time."""

    type: Literal["anomaly.created"] = "anomaly.created"


class AnomalyUpdated(AnomalyNotice):
    """An episode that was told goes on."""

    type: Literal["anomaly.updated"] = "anomaly.updated"


class AnomalyResolved(AnomalyNotice):
    """An episode that was told is over."""

    type: Literal["anomaly.resolved"] = "anomaly.resolved"


class EndpointTest(Notice):
    """Somebody tries an endpoint."""

    type: Literal["endpoint.test"] = "endpoint.test"
    endpoint_id: UUID
    name: str


class EndpointDisabled(Notice):
    """Nothing is sent to an endpoint any more, until somebody enables it; `said` is what it answered last."""

    type: Literal["endpoint.disabled"] = "endpoint.disabled"
    endpoint_id: UUID
    name: str
    failing_since: int
    said: str


KINDS: Mapping[str, type[Notice]] = MappingProxyType(
    {
        str(model.model_fields["type"].default): model
        for model in (
            UsageThreshold,
            UsageCapReached,
            BillingPaymentFailed,
            BillingDunning,
            BillingPlanChanged,
            BillingTrialEnding,
            AlarmRinging,
            AccountVerify,
            AccountExists,
            AccountReset,
            AccountInvited,
            AnomalyCreated,
            AnomalyUpdated,
            AnomalyResolved,
            EndpointTest,
            EndpointDisabled,
        )
    }
)
"""Kind of a row of the outbox → the model of its payload."""
