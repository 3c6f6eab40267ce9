//! Secrets of a fixed length: zeroised on drop, silent in `Debug`, compared in constant time; and HKDF.

use sha2::Sha256;

/// Declares a newtype over `[u8; LEN]` that holds a secret.
macro_rules! secret_bytes {
    ($(#[$doc:meta])* $name:ident, $len:literal) => {
        $(#[$doc])*
        #[derive(zeroize::Zeroize, zeroize::ZeroizeOnDrop)]
        pub struct $name([u8; $len]);

        impl $name {
            /// Length in bytes.
            pub const LEN: usize = $len;
            /// Takes the bytes as they are; the caller's copy remains the caller's to erase.
            pub fn from_bytes(bytes: &[u8; $len]) -> Self {
                Self(*bytes)
            }
            /// The secret bytes, for storage under encryption or for a derivation.
            pub fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }
        }
        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                subtle::ConstantTimeEq::ct_eq(&self.0[..], &other.0[..]).into()
            }
        }
        impl Eq for $name {}
        $crate::secret::redacted!($name);
    };
}

/// Adds `generate` to a secret that may be drawn at random; one that must be derived does without.
macro_rules! drawn_at_random {
    ($name:ident) => {
        impl $name {
            /// Draws a fresh secret.
            pub fn generate<R: rand_core::CryptoRng + ?Sized>(rng: &mut R) -> Self {
                let mut secret = Self([0; Self::LEN]);
                rng.fill_bytes(&mut secret.0);
                secret
            }
        }
    };
}

/// A `Debug` that names the type and nothing else.
macro_rules! redacted {
    ($name:ident) => {
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(concat!(stringify!($name), "(..)"))
            }
        }
    };
}
pub(crate) use {drawn_at_random, redacted, secret_bytes};

/// HKDF-SHA256 (RFC 5869) of one output block. The info's parts are taken one after the other.
pub(crate) fn hkdf32(salt: &[u8; 32], ikm: &[u8], info: &[&[u8]]) -> [u8; 32] {
    let mut okm = [0; 32];
    let fits = hkdf::Hkdf::<Sha256>::new(Some(salt), ikm).expand_multi_info(info, &mut okm);
    assert!(fits.is_ok(), "32 bytes are within what HKDF-SHA256 can give");
    okm
}
