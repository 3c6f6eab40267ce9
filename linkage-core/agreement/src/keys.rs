//! Public keys and signatures as the agreement's text holds them: base64 with padding (RFC 4648 section 4).
//!
//! A key that no honest key generation gives is refused when the agreement is read, not when a run fails on it: points
//! of small order would make every signature or every shared secret worthless.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use curve25519_dalek::MontgomeryPoint;
use curve25519_dalek::ristretto::CompressedRistretto;
use curve25519_dalek::traits::IsIdentity as _;
use ed25519_dalek::VerifyingKey;

/// Exactly `N` bytes from base64; `None` for anything else, spaces included.
pub fn decode<const N: usize>(text: &str) -> Option<[u8; N]> {
    STANDARD.decode(text).ok()?.try_into().ok()
}

/// Base64 with padding, as `decode` reads it.
pub fn encode(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// An Ed25519 verification key that is a canonical point and not of small order (RFC 8032 section 5.1.3).
pub fn verifying_key(text: &str) -> Option<VerifyingKey> {
    let bytes = decode(text)?;
    let key = VerifyingKey::from_bytes(&bytes).ok()?;
    let canonical = key.to_edwards().compress().to_bytes() == bytes;
    (canonical && !key.is_weak()).then_some(key)
}

/// An X25519 key that is not of small order (RFC 7748 section 6.1: the shared secret would be zero).
pub fn sealing_key(text: &str) -> Option<[u8; 32]> {
    let bytes = decode(text)?;
    // A clamped scalar is a multiple of 8, so any of them sends every point of small order to zero.
    let product = MontgomeryPoint(bytes).mul_clamped([1; 32]);
    (product.to_bytes() != [0; 32]).then_some(bytes)
}

/// An OPRF public key: a ristretto255 element other than the identity (RFC 9497 section 2.1).
pub fn oprf_key(text: &str) -> Option<[u8; 32]> {
    let bytes = decode(text)?;
    let point = CompressedRistretto(bytes).decompress()?;
    (!point.is_identity()).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(hex: &str) -> String {
        encode(&hex::decode(hex).unwrap())
    }

    #[test]
    fn keys_of_the_standards_are_accepted() {
        // RFC 8032 section 7.1 test 1; RFC 7748 section 6.1 (Alice); RFC 9497 appendix A.1.2 (pkSm).
        assert!(verifying_key(&key("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")).is_some());
        assert!(sealing_key(&key("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a")).is_some());
        assert!(oprf_key(&key("c803e2cc6b05fc15064549b5920659ca4a77b2cca6f04f6b357009335476ad4e")).is_some());
    }

    #[test]
    fn points_of_small_order_and_non_points_are_refused() {
        let small_ed25519 = [
            "0100000000000000000000000000000000000000000000000000000000000000",
            "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "0000000000000000000000000000000000000000000000000000000000000000",
            // y = 2 is on no point.
            "0200000000000000000000000000000000000000000000000000000000000000",
            // y = p + 3, a second spelling of y = 3.
            "f0ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        ];
        for hex in small_ed25519 {
            assert_eq!(verifying_key(&key(hex)), None, "{hex}");
        }
        let small_x25519 = [
            "0000000000000000000000000000000000000000000000000000000000000000",
            "0100000000000000000000000000000000000000000000000000000000000000",
            "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
            "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
            "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        ];
        for hex in small_x25519 {
            assert_eq!(sealing_key(&key(hex)), None, "{hex}");
        }
        assert_eq!(oprf_key(&key(&"00".repeat(32))), None);
        assert_eq!(oprf_key(&key(&"ff".repeat(32))), None);
    }

    #[test]
    fn only_padded_base64_of_the_right_length_is_read() {
        assert_eq!(decode::<3>("AAAA"), Some([0; 3]));
        for wrong in ["", "AAA", "AAAA\n", "AA==", "AAAAAAAA", "AA-_"] {
            assert_eq!(decode::<3>(wrong), None, "{wrong}");
        }
        assert_eq!(decode::<1>("AB=="), None, "bits beyond the last byte give a second spelling");
    }
}
