//! A passphrase over the authority's key, so that a copy of the folder alone certifies nobody.
//!
//! The key file is then an encrypted PKCS #8 (RFC 5958, section 3): PBES2 (RFC 8018, section 6.2) with scrypt (RFC 7914) and
//! AES-256-CBC, which `openssl pkey` reads. Argon2id (RFC 9106) has no object identifier there. The cost is N = 2^14, r = 8, p = 5:
//! 16 MiB five times over; with more memory openssl's own limit makes the file unreadable to it. Whoever has the file can try
//! passphrases on machines of their own: a short one is refused when it is set.

use std::fmt;
use std::path::Path;

use pkcs8::pkcs5::pbes2::{EncryptionScheme, Kdf, Parameters, Salt, ScryptParams};
use pkcs8::{EncryptedPrivateKeyInfoRef, LineEnding, PrivateKeyInfoRef, SecretDocument};
use zeroize::Zeroizing;

use super::AuthorityError;
use crate::fsx;

/// Fewest characters of a passphrase that is set.
pub const MIN_CHARS: usize = 12;
const FILE_LIMIT: u64 = 1024;
pub(super) const LABEL: &str = "ENCRYPTED PRIVATE KEY";
const COST: ScryptCost = ScryptCost { n: 1 << 14, r: 8, p: 5 };
/// What a file may ask of this machine at most, that openssl or another program wrote.
const MOST: ScryptCost = ScryptCost { n: 1 << 20, r: 32, p: 64 };
const MOST_ITERATIONS: u32 = 10_000_000;

/// RFC 7914, section 2.
struct ScryptCost {
    n: u64,
    r: u16,
    p: u16,
}

/// What opens the authority's key.
pub struct Passphrase(Zeroizing<String>);

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(..)")
    }
}

impl Passphrase {
    /// Takes the text as it is.
    ///
    /// # Errors
    /// [`AuthorityError::NoPassphrase`] when it is empty.
    pub fn new(text: Zeroizing<String>) -> Result<Self, AuthorityError> {
        if text.is_empty() { Err(AuthorityError::NoPassphrase) } else { Ok(Self(text)) }
    }

    /// The first line of a file that must be its owner's alone.
    ///
    /// # Errors
    /// [`AuthorityError::File`], [`AuthorityError::NoPassphrase`].
    pub fn read(path: &Path) -> Result<Self, AuthorityError> {
        let bytes = fsx::read_private(path, FILE_LIMIT)?;
        let not_utf8 = |_| fsx::FileError::NotUtf8 { path: path.to_owned() };
        let text = std::str::from_utf8(&bytes).map_err(not_utf8)?;
        Self::new(Zeroizing::new(text.lines().next().unwrap_or_default().to_owned()))
    }

    /// Encrypts a key, PKCS #8, to PEM.
    ///
    /// # Errors
    /// [`AuthorityError::ShortPassphrase`]; [`AuthorityError::NoRandomness`].
    pub(super) fn lock(&self, key: &[u8]) -> Result<Zeroizing<String>, AuthorityError> {
        if self.0.chars().count() < MIN_CHARS {
            return Err(AuthorityError::ShortPassphrase);
        }
        let (mut salt, mut iv) = ([0; 16], [0; 16]);
        for random in [&mut salt, &mut iv] {
            getrandom::fill(random).map_err(|_| AuthorityError::NoRandomness)?;
        }
        let kdf = Kdf::Scrypt(ScryptParams {
            salt: Salt::new(salt).map_err(|_| AuthorityError::KeyFile)?,
            cost_parameter: COST.n,
            block_size: COST.r,
            parallelization: COST.p,
            key_length: None,
        });
        let parameters = Parameters { kdf, encryption: EncryptionScheme::Aes256Cbc { iv } };
        let key = PrivateKeyInfoRef::try_from(key).map_err(|_| AuthorityError::KeyFile)?;
        let locked = key.encrypt_with_params(parameters, self.0.as_bytes()).map_err(|_| AuthorityError::KeyFile)?;
        locked.to_pem(LABEL, LineEnding::LF).map_err(|_| AuthorityError::KeyFile)
    }

    /// Decrypts what [`Self::lock`] made, or `openssl pkcs8 -topk8`; the key, PKCS #8.
    ///
    /// # Errors
    /// [`AuthorityError::WrongPassphrase`]; [`AuthorityError::KeyFile`] when it is no such file, or asks for too much work.
    pub fn unlock(&self, pem: &str) -> Result<SecretDocument, AuthorityError> {
        let (label, document) = SecretDocument::from_pem(pem).map_err(|_| AuthorityError::KeyFile)?;
        let locked = EncryptedPrivateKeyInfoRef::try_from(document.as_bytes()).map_err(|_| AuthorityError::KeyFile)?;
        let bearable = match locked.encryption_algorithm.pbes2().map(|scheme| &scheme.kdf) {
            Some(Kdf::Scrypt(cost)) => {
                cost.cost_parameter.is_power_of_two()
                    && (2..=MOST.n).contains(&cost.cost_parameter)
                    && (1..=MOST.r).contains(&cost.block_size)
                    && (1..=MOST.p).contains(&cost.parallelization)
                    && cost.cost_parameter * u64::from(cost.block_size) <= MOST.n * 8
            }
            Some(Kdf::Pbkdf2(cost)) => (1..=MOST_ITERATIONS).contains(&cost.iteration_count),
            _ => false,
        };
        if label != LABEL || !bearable {
            return Err(AuthorityError::KeyFile);
        }
        locked.decrypt(self.0.as_bytes()).map_err(|_| AuthorityError::WrongPassphrase)
    }
}

/// Whether a key file is under a passphrase.
pub(super) fn is_locked(pem: &str) -> bool {
    pem.lines().any(|line| line.trim_end().strip_prefix("-----BEGIN ").and_then(|l| l.strip_suffix("-----")) == Some(LABEL))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 | openssl pkcs8 -topk8 -scrypt -passout pass:OPENSSL_PASS`
    const OPENSSL: &str = include_str!("testdata/openssl-scrypt.key");
    /// The same key with `-v2 aes-256-cbc -v2prf hmacWithSHA256 -iter 2048` in place of `-scrypt`.
    const OPENSSL_PBKDF2: &str = include_str!("testdata/openssl-pbkdf2.key");
    const OPENSSL_PASS: &str = "une phrase de passe d'essai";

    fn passphrase(text: &str) -> Passphrase {
        Passphrase::new(Zeroizing::new(text.to_owned())).unwrap()
    }

    #[test]
    fn what_openssl_locked_is_opened_and_by_its_passphrase_only() {
        let keys = [OPENSSL, OPENSSL_PBKDF2].map(|pem| passphrase(OPENSSL_PASS).unlock(pem).unwrap());
        assert_eq!(keys[0].as_bytes(), keys[1].as_bytes());
        assert!(PrivateKeyInfoRef::try_from(keys[0].as_bytes()).is_ok());
        for wrong in ["une phrase de passe d'essaI", "une phrase de passe d'essai "] {
            assert!(matches!(passphrase(wrong).unlock(OPENSSL), Err(AuthorityError::WrongPassphrase)), "{wrong}");
        }
    }

    #[test]
    fn a_key_goes_in_and_comes_out() {
        let key = passphrase(OPENSSL_PASS).unlock(OPENSSL).unwrap();
        let under = passphrase("quatre mots tirés au sort");
        let locked = under.lock(key.as_bytes()).unwrap();
        assert!(is_locked(&locked) && !is_locked("-----BEGIN PRIVATE KEY-----\n"));
        assert_eq!(under.unlock(&locked).unwrap().as_bytes(), key.as_bytes());
        assert!(matches!(passphrase("trop court").lock(key.as_bytes()), Err(AuthorityError::ShortPassphrase)));
    }

    #[test]
    fn a_file_that_asks_for_too_much_is_refused_before_any_work() {
        let (_, document) = SecretDocument::from_pem(OPENSSL).unwrap();
        // INTEGER 16384, INTEGER 8, INTEGER 1: N, r and p.
        let cost = [0x02, 0x02, 0x40, 0x00, 0x02, 0x01, 0x08, 0x02, 0x01, 0x01];
        let at = document.as_bytes().windows(cost.len()).position(|w| w == cost).unwrap();
        for (offset, value) in [(3, 0x01), (6, 0x7f), (6, 0x00), (9, 0x7f)] {
            let mut altered = document.as_bytes().to_vec();
            altered[at + offset] = value;
            let pem = SecretDocument::try_from(altered).unwrap().to_pem(LABEL, LineEnding::LF).unwrap();
            assert!(matches!(passphrase(OPENSSL_PASS).unlock(&pem), Err(AuthorityError::KeyFile)), "{offset}: {value}");
        }
        assert!(matches!(passphrase("x").unlock("ca.key"), Err(AuthorityError::KeyFile)));
    }
}
