"""The one list of parsers that face the outside."""

from billing.stripe_gateway import BadSignature
from schemas.errors import DriftlockError
from schemas.models import BadMessage
from tests.fuzz import files, intake, topics
from tests.fuzz.laws import Parser

PARSERS: dict[str, Parser] = {
    "events": Parser(intake.events, intake.ANSWERED, 40, intake.event_bodies),
    "otlp-protobuf": Parser(intake.otlp_protobuf, intake.ANSWERED, 100, intake.otlp_batches),
    "otlp-json": Parser(intake.otlp_json, intake.ANSWERED, 100, intake.otlp_documents),
    "packed": Parser(intake.packed, intake.ANSWERED, 40, intake.packed_bodies),
    "webhook": Parser(intake.webhook, (*intake.WEBHOOK, BadSignature), 40, intake.webhook_bodies),
    "record": Parser(topics.record, (), 40, topics.record_values),
    "headers": Parser(topics.headers, (), 40, topics.header_lists),
    "frame": Parser(topics.frame, topics.FRAME, 40, topics.frames),
    "control": Parser(topics.controls, (), 40, topics.control_messages),
    "messages": Parser(topics.messages, (BadMessage,), 40, topics.message_values),
    "place": Parser(topics.place, (), 40, topics.places),
    "body": Parser(topics.body, (), 40, topics.bodies),
    "scanned": Parser(files.scanned, files.SCANNED, 40, files.file_contents, size=files.unpacked),
    "sent": Parser(files.sent, (DriftlockError,), 40, files.file_contents, size=files.unpacked),
    "evidence": Parser(files.evidence, files.EVIDENCE, 100, files.bundles, base=20_000),
}
