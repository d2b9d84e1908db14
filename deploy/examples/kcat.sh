#!/bin/sh
# Events to DriftLock by kcat: `kcat.sh < events.jsonl`, an object a line. Settings as in produce.py.
set -eu
stream=${STREAM:-default}
set -- -P -b "$KAFKA_BROKERS" -t "events.$ORGANIZATION_ID" -k "$stream" -z zstd \
  -X acks=all -X enable.idempotence=true -X message.max.bytes=16777216 \
  -H "x-organization-id=$ORGANIZATION_ID" -H "x-stream=$stream" -H content-type=application/json
if [ -n "${KAFKA_SASL_USERNAME:-}" ]; then
  set -- "$@" -X security.protocol=SASL_SSL -X "sasl.mechanism=${KAFKA_SASL_MECHANISM:-SCRAM-SHA-512}" \
    -X "sasl.username=$KAFKA_SASL_USERNAME" -X "sasl.password=$KAFKA_SASL_PASSWORD" -X "ssl.ca.location=$KAFKA_SSL_CA"
fi
exec kcat "$@"
