"""What the integration tests share: declaring and running tests, the Java client, captures, raw Kafka frames."""
