//! The gRPC contract between the roles
