//! End-to-end tests: the federation on loopback
