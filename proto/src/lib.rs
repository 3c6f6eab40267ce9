//! The gRPC contract between the roles, generated from `linkage/v1/*.proto`, whose comments carry it.
#![allow(missing_docs, clippy::all, clippy::pedantic, clippy::nursery, clippy::restriction)]

/// Version 1 of the contract.
pub mod v1 {
    tonic::include_proto!("linkage.v1");
}

/// What a role tells a collector of traces.
pub mod otlp {
    tonic::include_proto!("opentelemetry.proto.collector.trace.v1");
}

/// Largest payload of one batch, in bytes.
pub const MAX_BATCH_BYTES: usize = 1 << 20;
/// Most runs that `ListRunsRequest.also` may name.
pub const MAX_RUNS_NAMED: usize = 100;
/// Largest gRPC message that a role accepts, in bytes: a batch and its envelope.
pub const MAX_MESSAGE_BYTES: usize = MAX_BATCH_BYTES + (64 << 10);
