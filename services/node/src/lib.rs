//! The partner's node: reads deliveries, encodes them, uploads runs
