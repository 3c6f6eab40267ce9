//! The ciphersuite ristretto255-SHA512: hashing to the group and to scalars, canonical encodings.
//!
//! RFC 9497, section 4.1; expand_message_xmd of RFC 9380, section 5.3.1, whose first block of zeros is absorbed once and
//! the state cloned, since a run hashes millions of inputs. The one-way map is that of RFC 9496, section 4.3.4
//! (`from_uniform_bytes`); dalek's `hash_from_bytes` is another construction.

use std::sync::LazyLock;

use curve25519_dalek::ristretto::{CompressedRistretto, RistrettoPoint};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::IsIdentity;
use sha2::{Digest, Sha512};
use zeroize::Zeroize;

use super::{ELEMENT_LEN, OprfError};

/// The protocol variant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// 0x00: without proof. Kept for the RFC's vectors and for interoperation.
    Oprf,
    /// 0x01: every batch comes with a proof. The one that the linkage uses.
    Voprf,
}

/// The hash functions of one mode.
pub(super) struct Suite {
    pub(super) to_group: Expander,
    pub(super) to_scalar: Expander,
    pub(super) derive_key_pair: Expander,
    /// DST of the composites' seed: "Seed-" ‖ context.
    pub(super) seed_dst: Vec<u8>,
}

impl Suite {
    pub(super) fn of(mode: Mode) -> &'static Self {
        static OPRF: LazyLock<Suite> = LazyLock::new(|| Suite::new(0));
        static VOPRF: LazyLock<Suite> = LazyLock::new(|| Suite::new(1));
        match mode {
            Mode::Oprf => &OPRF,
            Mode::Voprf => &VOPRF,
        }
    }
    fn new(mode: u8) -> Self {
        // contextString = "OPRFV1-" ‖ I2OSP(mode, 1) ‖ "-" ‖ identifier
        let context = [b"OPRFV1-".as_slice(), &[mode], b"-ristretto255-SHA512"].concat();
        let dst = |prefix: &str| [prefix.as_bytes(), &context].concat();
        Self {
            to_group: Expander::new(&dst("HashToGroup-")),
            to_scalar: Expander::new(&dst("HashToScalar-")),
            derive_key_pair: Expander::new(&dst("DeriveKeyPair")),
            seed_dst: dst("Seed-"),
        }
    }
    pub(super) fn hash_to_group(&self, input: &[u8]) -> RistrettoPoint {
        self.to_group.point(&[input])
    }
    pub(super) fn hash_to_scalar(&self, parts: &[&[u8]]) -> Scalar {
        self.to_scalar.scalar(parts)
    }
}

/// expand_message_xmd with SHA-512 to 64 bytes under one DST.
pub(crate) struct Expander {
    /// SHA-512 after Z_pad, one block of zeros.
    padded: Sha512,
    /// DST ‖ I2OSP(len(DST), 1).
    dst_prime: Vec<u8>,
}

impl Expander {
    /// Takes the DST; one of more than 255 bytes is hashed first (RFC 9380, section 5.3.3).
    pub(crate) fn new(dst: &[u8]) -> Self {
        let mut dst_prime = dst.to_vec();
        if dst.len() > 255 {
            dst_prime = Sha512::new().chain_update(b"H2C-OVERSIZE-DST-").chain_update(dst).finalize().to_vec();
        }
        dst_prime.push(dst_prime.len() as u8);
        Self { padded: Sha512::new().chain_update([0; 128]), dst_prime }
    }
    /// 64 uniform bytes from the message's parts, taken one after the other.
    pub(crate) fn expand(&self, parts: &[&[u8]]) -> [u8; 64] {
        let mut b0 = self.padded.clone();
        for part in parts {
            b0.update(part);
        }
        // l_i_b_str = I2OSP(64, 2), then I2OSP(0, 1)
        b0.update([0, 64, 0]);
        b0.update(&self.dst_prime);
        Sha512::new().chain_update(b0.finalize()).chain_update([1]).chain_update(&self.dst_prime).finalize().into()
    }
    /// hash_to_group: the message's point. May be the identity, with negligible probability.
    pub(crate) fn point(&self, parts: &[&[u8]]) -> RistrettoPoint {
        let mut uniform = self.expand(parts);
        let point = RistrettoPoint::from_uniform_bytes(&uniform);
        uniform.zeroize();
        point
    }
    /// hash_to_scalar: 64 bytes, little-endian, modulo the group order.
    pub(super) fn scalar(&self, parts: &[&[u8]]) -> Scalar {
        let mut uniform = self.expand(parts);
        let scalar = Scalar::from_bytes_mod_order_wide(&uniform);
        uniform.zeroize();
        scalar
    }
}

/// Reads one element; `None` when it is not canonical or is the identity.
pub(crate) fn decode_point(bytes: &[u8; ELEMENT_LEN]) -> Option<RistrettoPoint> {
    CompressedRistretto(*bytes).decompress().filter(|point| !point.is_identity())
}

/// Reads a packed batch whose length was checked.
pub(super) fn decode_batch(packed: &[u8]) -> Result<Vec<RistrettoPoint>, OprfError> {
    let (elements, _) = packed.as_chunks::<ELEMENT_LEN>();
    elements.iter().enumerate().map(|(index, bytes)| decode_point(bytes).ok_or(OprfError::InvalidElement { index })).collect()
}

/// Packs twice each point. Halving the scalar beforehand (or the point's multiplier) lets a whole batch share one field
/// inversion instead of an inverse square root per point.
pub(super) fn double_and_pack(halves: &[RistrettoPoint]) -> Vec<u8> {
    let mut packed = Vec::with_capacity(halves.len() * ELEMENT_LEN);
    for element in RistrettoPoint::double_and_compress_batch(halves) {
        packed.extend_from_slice(element.as_bytes());
    }
    packed
}

/// Reads a scalar below the group order.
pub(crate) fn decode_scalar(bytes: &[u8; 32]) -> Option<Scalar> {
    Scalar::from_canonical_bytes(*bytes).into_option()
}

/// Draws a scalar that is not zero.
pub(crate) fn random_scalar<R: rand_core::CryptoRng + ?Sized>(rng: &mut R) -> Scalar {
    loop {
        let scalar = Scalar::random(rng);
        if scalar != Scalar::ZERO {
            return scalar;
        }
    }
}
