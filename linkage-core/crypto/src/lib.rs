//! Keys and cryptographic constructions: OPRF (RFC 9497), group key, derivations, HPKE sealing, pseudonym points
