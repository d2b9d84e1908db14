"""The offline scan: the detector over files, with no Kafka and no database."""
