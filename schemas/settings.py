"""Every setting of every process, typed: read from the environment once, validated at start, all errors told at once.

A secret may be given as NAME or, for a mounted file, as NAME_FILE.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from schemas.errors import SettingsError

Sasl = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]
Protocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]


class Settings(BaseModel):
    """The one list of settings. The description of a field is its line in .env.example."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    environment: Annotated[str, Field(description="where this runs; shown in logs")] = "development"
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], Field(description="least level that is logged")
    ] = "info"
    host: Annotated[str, Field(description="address the API and each process's own port listen on")] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535, description="port of the API")] = 8080
    console_port: Annotated[int, Field(ge=0, le=65535, description="port of the web console")] = 3000
    metrics_port: Annotated[
        int,
        Field(
            ge=0,
            le=65535,
            description="port for /healthz, /readyz, /metrics of processes other than the API; 0: any free one",
        ),
    ] = 0

    kafka_brokers: Annotated[str, Field(description="comma separated host:port")] = "127.0.0.1:9092"
    kafka_security_protocol: Annotated[Protocol, Field(description="how to talk to the brokers")] = "PLAINTEXT"
    kafka_sasl_mechanism: Annotated[Sasl, Field(description="with SASL: which mechanism")] = "SCRAM-SHA-512"
    kafka_sasl_username: Annotated[str, Field(description="with SASL: user")] = ""
    kafka_sasl_password: Annotated[SecretStr, Field(description="with SASL: password")] = SecretStr("")
    kafka_ssl_ca: Annotated[str, Field(description="with SSL: path of the certificate authority's file")] = ""
    kafka_durable: Annotated[
        bool,
        Field(
            description="false for a broker in memory without idempotent producers and groups (Tansu): a demonstration only"
        ),
    ] = True
    topic_partitions: Annotated[int, Field(ge=1, le=1024, description="partitions of each topic that is created")] = 4
    topic_replication: Annotated[int, Field(ge=1, le=5, description="replicas of each topic that is created")] = 1

    topics_create_time: Annotated[
        str,
        Field(
            description="topics that keep the producers' recorded times, comma separated: a demonstration only, refused with a live Stripe key"
        ),
    ] = ""

    database_url: Annotated[SecretStr, Field(description="owner of the schema: migrations only")] = SecretStr("")
    database_url_api: Annotated[SecretStr, Field(description="role driftlock_api")] = SecretStr("")
    database_url_sink: Annotated[SecretStr, Field(description="role driftlock_sink")] = SecretStr("")
    database_url_meter: Annotated[SecretStr, Field(description="role driftlock_meter")] = SecretStr("")
    database_url_webhook: Annotated[SecretStr, Field(description="role driftlock_webhook")] = SecretStr("")
    database_url_reader: Annotated[SecretStr, Field(description="role driftlock_reader")] = SecretStr("")
    database_url_jobs: Annotated[
        SecretStr, Field(description="role driftlock_jobs: billing's jobs and the operator's commands")
    ] = SecretStr("")
    database_url_alerts: Annotated[SecretStr, Field(description="role driftlock_alerts: the sender of e-mails")] = (
        SecretStr("")
    )
    database_url_accounts: Annotated[
        SecretStr, Field(description="role driftlock_accounts: who somebody is, before any organization is known")
    ] = SecretStr("")
    access_token_key: Annotated[
        SecretStr,
        Field(description="signs access tokens, the same in every API and console process; 32 characters or more"),
    ] = SecretStr("")

    stripe_api_key: Annotated[
        SecretStr, Field(description="restricted key; a live one is refused unless STRIPE_ALLOW_LIVE")
    ] = SecretStr("")
    stripe_api_base: Annotated[
        str, Field(description="another address for Stripe's API: a fake, for tests and the demo")
    ] = ""
    stripe_allow_live: Annotated[bool, Field(description="true admits a live key")] = False
    stripe_webhook_secrets: Annotated[SecretStr, Field(description="comma separated, several while rotating")] = (
        SecretStr("")
    )
    credit_limit_percent: Annotated[
        int,
        Field(ge=0, le=100, description="false positives credited at most, in percent of a period's billable units"),
    ] = 10
    ledger_signing_key: Annotated[
        SecretStr, Field(description="Ed25519 key that signs the ledger's heads, base64: driftlock ledger new-key")
    ] = SecretStr("")
    ledger_verify_key: Annotated[
        str, Field(description="its public half, for who verifies without the key; empty: that of LEDGER_SIGNING_KEY")
    ] = ""

    smtp_host: Annotated[str, Field(description="server that takes our e-mails; empty: none are sent")] = ""
    smtp_port: Annotated[int, Field(ge=1, le=65535, description="its port")] = 587
    smtp_security: Annotated[
        Literal["starttls", "tls", "none"],
        Field(description="how the connection is secured; none: a server on loopback"),
    ] = "starttls"
    smtp_username: Annotated[str, Field(description="user, where it asks for one")] = ""
    smtp_password: Annotated[SecretStr, Field(description="and password")] = SecretStr("")
    mail_from: Annotated[str, Field(description="sender of our e-mails: an address, or Name <address>")] = (
        "DriftLock <billing@localhost>"
    )
    operator_email: Annotated[str, Field(description="who is told by e-mail of alarms about money; empty: nobody")] = ""
    api_url: Annotated[
        str, Field(description="the API's address as senders of events reach it, for the console's examples")
    ] = "http://127.0.0.1:8080"
    console_url: Annotated[str, Field(description="the console's address, for links in e-mails; empty: no links")] = ""
    resend_api_key: Annotated[SecretStr, Field(description="e-mail by Resend, where SMTP_HOST is not set")] = SecretStr(
        ""
    )
    resend_api_base: Annotated[
        str, Field(description="another address for Resend's API: a fake, for tests; http on loopback only")
    ] = "https://api.resend.com"
    alerts_secret_key: Annotated[
        SecretStr,
        Field(
            description="seals the secrets of alert endpoints, the same in API, console and alerts; 32 characters or more, comma separated while it is replaced, the new one first"
        ),
    ] = SecretStr("")
    alerts_disable_days: Annotated[
        int, Field(ge=1, le=30, description="days without one success after which an alert endpoint is disabled")
    ] = 5
    alerts_allow_loopback: Annotated[
        bool,
        Field(
            description="true lets webhooks go to loopback, and by http: tests and local development only, refused with a live Stripe key"
        ),
    ] = False
    cors_origins: Annotated[str, Field(description="comma separated origins, never *")] = ""

    packer_flush_bytes: Annotated[int, Field(ge=1024, le=4 << 20, description="bytes of events that close a flush")] = (
        1 << 20
    )
    packer_flush_ms: Annotated[int, Field(ge=1, le=60_000, description="age in ms that closes a flush")] = 200
    packer_tick_ms: Annotated[
        int, Field(ge=100, le=600_000, description="a flush without events at least so often, as a tick")
    ] = 5_000
    worker_checkpoint_bytes: Annotated[
        int, Field(ge=1 << 16, description="bytes of a partition's events between two savings of its states")
    ] = 64 << 20
    worker_checkpoint_seconds: Annotated[
        int, Field(ge=1, description="seconds between two savings of a partition's states")
    ] = 60
    streams_per_organization: Annotated[
        int,
        Field(ge=1, description="streams of an organization that are scored apart; those above are one stream, other"),
    ] = 10_000
    worker_resident_streams: Annotated[
        int,
        Field(
            ge=1,
            description="streams of a partition kept in memory between two savings; others come back from the saved states",
        ),
    ] = 500
    worker_data_dir: Annotated[str, Field(description="where Faust keeps its files")] = ".driftlock/worker"
    sensitivity: Annotated[
        float, Field(ge=0, le=1, description="0.0 strict to 1.0 sensitive, where an organization sets none")
    ] = 0.5
    false_alarms_per_day: Annotated[
        int, Field(ge=1, le=10_000, description="bound on expected false episodes a day and stream")
    ] = 10

    database_url_control: Annotated[
        SecretStr, Field(description="role driftlock_control: carries what tenants say to workers")
    ] = SecretStr("")

    packer_fuse_events: Annotated[
        int,
        Field(ge=0, description="the packer stops when 95 in 100 of so many events are dead letters; 0: never"),
    ] = 10_000

    evidence_signing_key: Annotated[
        SecretStr, Field(description="Ed25519 key that signs evidence bundles, base64: driftlock evidence keygen")
    ] = SecretStr("")
    evidence_trust: Annotated[
        str, Field(description="file of public keys whose bundles `driftlock verify` trusts; empty: no signer is known")
    ] = ""

    otlp_endpoint: Annotated[
        str,
        Field(
            description="collector (OTLP over HTTP, http://host:4318) for traces of our own, followed where a sender's traceparent says sampled; empty: none"
        ),
    ] = ""
    status_targets: Annotated[
        str,
        Field(
            description="processes whose /readyz the API gathers in /v1/status: comma separated, such as packer=http://packer:9100"
        ),
    ] = ""


SECRETS = tuple(name for name, field in Settings.model_fields.items() if field.annotation is SecretStr)


def load(environ: Mapping[str, str]) -> Settings:
    """Settings of an environment; `SettingsError` lists every error in it, one per line."""
    given = {name.lower(): value for name, value in environ.items()}
    errors = []
    for name in (*SECRETS, "kafka_ssl_ca"):
        path = given.pop(f"{name}_file", "")
        if path:
            try:
                given[name] = Path(path).read_text("utf-8").strip()
            except OSError as error:
                errors.append(f"{name.upper()}_FILE: {path} can't be read: {error.strerror}")
    values = {name: given[name] for name in Settings.model_fields if given.get(name)}
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        errors += [f"{'.'.join(map(str, e['loc'])).upper()}: {e['msg']}" for e in error.errors()]
    if errors:
        raise SettingsError("wrong settings: " + "; ".join(errors))
    return settings


def env_example() -> str:
    """The text of .env.example: every setting with its description and default."""
    lines = [
        "# Every setting of DriftLock; generated by `driftlock generate`. Secrets may be given as NAME_FILE instead.",
        "",
    ]
    for name, field in Settings.model_fields.items():
        default = "" if name in SECRETS else str(field.default)
        lines += [
            f"# {field.description}",
            f"{name.upper()}={default.lower() if isinstance(field.default, bool) else default}",
            "",
        ]
    return "\n".join(lines)
