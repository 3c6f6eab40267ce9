//! Names to normalised identities, block keys and field filters; node only
