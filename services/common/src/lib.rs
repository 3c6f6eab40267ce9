//! What every role shares: configuration, mutual TLS, authorisation, telemetry, storage seams
