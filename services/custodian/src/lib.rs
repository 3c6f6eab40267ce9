//! The custodian: OPRF evaluations, registry of persons, pseudonyms
