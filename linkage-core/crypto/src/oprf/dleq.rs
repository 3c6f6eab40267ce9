//! The batched proof that log_G(B) = log_C(i)(D(i)) for all i: RFC 9497, section 2.2.
//!
//! The transcript's points travel as their 32-byte encodings, which the caller has at hand. The prover knows the key and
//! so makes Z by one multiplication (ComputeCompositesFast); the verifier needs a second multi-scalar product.

use curve25519_dalek::ristretto::RistrettoPoint;
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::VartimeMultiscalarMul;
use sha2::{Digest, Sha512};
use subtle::ConstantTimeEq;

use super::suite::{Mode, Suite, decode_scalar};
use super::{ELEMENT_LEN, OprfError, PROOF_LEN};

/// GenerateProof for key `k`, public key `b`, blinded `c` (points and packed) and evaluated `d` (packed); `r` is fresh.
pub(super) fn prove(
    k: &Scalar,
    b: &[u8; ELEMENT_LEN],
    c: &[RistrettoPoint],
    packed_c: &[u8],
    packed_d: &[u8],
    r: &Scalar,
) -> [u8; PROOF_LEN] {
    let weights = weights(b, packed_c, packed_d);
    let m = RistrettoPoint::vartime_multiscalar_mul(&weights, c);
    let z = k * m;
    let t2 = RistrettoPoint::mul_base(r);
    let t3 = r * m;
    let challenge = challenge(b, &[m, z, t2, t3]);
    let s = r - challenge * k;
    let mut proof = [0; PROOF_LEN];
    let (head, tail) = proof.split_at_mut(32);
    head.copy_from_slice(challenge.as_bytes());
    tail.copy_from_slice(s.as_bytes());
    proof
}

/// VerifyProof. All its inputs are public.
pub(super) fn verify(
    public: (&RistrettoPoint, &[u8; ELEMENT_LEN]),
    c: &[RistrettoPoint],
    packed_c: &[u8],
    d: &[RistrettoPoint],
    packed_d: &[u8],
    proof: &[u8; PROOF_LEN],
) -> Result<(), OprfError> {
    let (b_point, b) = public;
    let (halves, _) = proof.as_chunks::<32>();
    let &[proof_c, proof_s] = halves else { return Err(OprfError::ProofRefused) };
    let challenged = decode_scalar(&proof_c).ok_or(OprfError::ProofRefused)?;
    let s = decode_scalar(&proof_s).ok_or(OprfError::ProofRefused)?;

    let weights = weights(b, packed_c, packed_d);
    let m = RistrettoPoint::vartime_multiscalar_mul(&weights, c);
    let z = RistrettoPoint::vartime_multiscalar_mul(&weights, d);
    let t2 = RistrettoPoint::vartime_double_scalar_mul_basepoint(&challenged, b_point, &s);
    let t3 = RistrettoPoint::vartime_multiscalar_mul([s, challenged], [m, z]);
    let expected = challenge(b, &[m, z, t2, t3]);
    if bool::from(expected.ct_eq(&challenged)) { Ok(()) } else { Err(OprfError::ProofRefused) }
}

/// The scalars d_i of ComputeComposites: every pair enters with its position, so that swapped answers are refused.
fn weights(b: &[u8; ELEMENT_LEN], packed_c: &[u8], packed_d: &[u8]) -> Vec<Scalar> {
    let suite = Suite::of(Mode::Voprf);
    let seed = Sha512::new()
        .chain_update([0, 32])
        .chain_update(b)
        .chain_update((suite.seed_dst.len() as u16).to_be_bytes())
        .chain_update(&suite.seed_dst)
        .finalize();
    packed_c
        .as_chunks::<ELEMENT_LEN>()
        .0
        .iter()
        .zip(packed_d.as_chunks::<ELEMENT_LEN>().0)
        .zip(0u16..)
        .map(|((c, d), i)| suite.hash_to_scalar(&[&[0, 64], &seed, &i.to_be_bytes(), &[0, 32], c, &[0, 32], d, b"Composite"]))
        .collect()
}

/// The Fiat-Shamir challenge over the public key and M, Z, t2, t3.
fn challenge(b: &[u8; ELEMENT_LEN], points: &[RistrettoPoint; 4]) -> Scalar {
    let [m, z, t2, t3] = points.map(|point| point.compress().to_bytes());
    let len: &[u8] = &[0, 32];
    Suite::of(Mode::Voprf).hash_to_scalar(&[len, b, len, &m, len, &z, len, &t2, len, &t3, b"Challenge"])
}
