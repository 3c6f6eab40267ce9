//! What is inside a backup: facts, files, manifest.
//!
//! `facts length (4, LE) ‖ facts (JSON) ‖ files ‖ 0 (2) ‖ manifest length (4, LE) ‖ manifest (JSON) ‖ signature (64)`; a file is
//! `name length (2, LE) ‖ name ‖ size (8, LE) ‖ bytes`. Facts come first, so that what does not fit is refused before it is unpacked;
//! digests come last, since files are read once. Names begin with `settings/`, `audit/` or `state/` and lead nowhere else. The
//! signature is the role's ([`crate::signer`]) over the SHA-256 of the manifest's bytes, which hold facts and digests; version 1
//! ended before it. What is read is nobody's until [`Unverified::signed`] has said whose it is.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use linkage_agreement::{ParsedAgreement, RoleId};
use linkage_crypto::seal::{SealingKey, SealingPublicKey};
use linkage_crypto::signing::SIGNATURE_LEN;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::BackupError;
use super::seal::{SealReader, SealWriter};
use crate::fsx;
use crate::signer::{self, Signer};

/// Version of what is inside.
const FORMAT: u32 = 2;
/// The version before signatures.
const UNSIGNED: u32 = 1;
/// What a role signs as a backup of its own.
const LABEL: &str = "backup";
/// Longest facts or manifest.
const JSON_LIMIT: u32 = 256 << 20;
/// Longest name.
const NAME_LIMIT: usize = 1024;
/// Files of configuration, keys and agreement, by what the configuration calls them.
pub const SETTINGS: &str = "settings/";
/// Files of the audit logs, relative to their folder.
pub const AUDIT: &str = "audit/";
/// Files of the state, relative to the role's folder.
pub const STATE: &str = "state/";

/// What a backup is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Facts {
    /// Version of the backup's inside.
    pub format: u32,
    /// Role, as in the audit log.
    pub role: String,
    /// Hash of the agreement in force, hexadecimal.
    pub agreement: String,
    /// Version of the program.
    pub software: String,
    /// Version of the database's schema, for a role that has one.
    pub schema: Option<i64>,
    /// When, seconds since 1970.
    pub at: i64,
    /// The audit log that was written to.
    pub log: String,
    /// Its last entry: how new the state is.
    pub entry: u64,
    /// The chain's value there, hexadecimal.
    pub chain: String,
    /// Whether the database is on a server, and not in this file.
    pub database_elsewhere: bool,
    /// Whether objects are in a store, and not in this file.
    pub objects_elsewhere: bool,
}

impl Facts {
    /// The version that this program writes.
    pub const FORMAT: u32 = FORMAT;
}

/// A file in a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileFacts {
    /// Its name.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// SHA-256, hexadecimal.
    pub sha256: String,
}

/// All that a backup says of itself. No identity is in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// What it is of.
    pub facts: Facts,
    /// What is in it, in order.
    pub files: Vec<FileFacts>,
}

/// Where a file's bytes come from.
pub enum Content {
    /// Here they are.
    Bytes(Zeroizing<Vec<u8>>),
    /// So many bytes of an open file: what is appended to it meanwhile is left out, and a file that is replaced stays what it was.
    File(File, u64),
}

/// A file to be saved.
pub struct Source {
    /// Its name in the backup.
    pub name: String,
    /// Its bytes.
    pub content: Content,
}

impl Source {
    /// How many bytes it has.
    pub fn bytes(&self) -> u64 {
        match &self.content {
            Content::Bytes(bytes) => bytes.len() as u64,
            Content::File(_, length) => *length,
        }
    }

    /// The file at `path` as it is now; none when it is gone. Of a file of lines, half a line at the end is left out.
    ///
    /// # Errors
    /// The system's.
    pub fn open(name: String, path: &Path) -> io::Result<Option<Self>> {
        let mut file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut length = file.metadata()?.len();
        if path.extension().is_some_and(|e| e == "jsonl") {
            length = whole_lines(&mut file, length)?;
        }
        Ok(Some(Self { name, content: Content::File(file, length) }))
    }
}

/// Lets this process hold as many files open as the system allows it: all files of a state are opened at one moment.
pub fn allow_open_files() {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, getrlimit, setrlimit};
        let mut limit = getrlimit(Resource::Nofile);
        limit.current = limit.maximum;
        if setrlimit(Resource::Nofile, limit).is_err() {
            tracing::debug!("the limit of open files stays as it is");
        }
    }
}

/// How many of the first `length` bytes are whole lines. Read backwards: only the last line can be half.
fn whole_lines(file: &mut File, length: u64) -> io::Result<u64> {
    use std::io::{Seek as _, SeekFrom};
    let mut end = length;
    while end > 0 {
        let from = end.saturating_sub(1 << 16);
        file.seek(SeekFrom::Start(from))?;
        let mut bytes = Vec::new();
        (&mut *file).take(end - from).read_to_end(&mut bytes)?;
        if let Some(at) = bytes.iter().rposition(|b| *b == b'\n') {
            end = from + at as u64 + 1;
            break;
        }
        end = from;
    }
    file.seek(SeekFrom::Start(0))?;
    Ok(end)
}

/// Writes a backup that `by` signs to `path`, which must not be there yet: whole and on disk, or not at all.
///
/// # Errors
/// The disk; a file that became shorter while it was read.
pub fn write(
    path: &Path,
    to: &SealingPublicKey,
    by: &Signer,
    facts: Facts,
    sources: Vec<Source>,
) -> Result<Manifest, BackupError> {
    if path.try_exists()? {
        return Err(BackupError::Io(io::ErrorKind::AlreadyExists));
    }
    fsx::write_atomic_with(path, |file| {
        super::leftovers::hold(file);
        pack(SealWriter::new(file, to)?, by, facts, sources).map(|(_, manifest)| manifest)
    })
}

pub(super) fn pack<W: Write>(
    mut out: SealWriter<W>,
    by: &Signer,
    facts: Facts,
    sources: Vec<Source>,
) -> Result<(W, Manifest), BackupError> {
    put(&mut out, &json(&facts)?)?;
    let mut files = Vec::with_capacity(sources.len());
    for Source { name, content } in sources {
        let length = u16::try_from(name.len()).ok().filter(|_| is_safe(&name)).ok_or(BackupError::Malformed { what: "nom" })?;
        out.write_all(&length.to_le_bytes())?;
        out.write_all(name.as_bytes())?;
        let (bytes, digest) = match content {
            Content::Bytes(bytes) => copy(bytes.as_slice(), bytes.len() as u64, &mut out)?,
            Content::File(file, length) => copy(file, length, &mut out)?,
        };
        files.push(FileFacts { name, bytes, sha256: hex::encode(digest) });
    }
    let manifest = Manifest { facts, files };
    out.write_all(&0_u16.to_le_bytes())?;
    let bytes = json(&manifest)?;
    put(&mut out, &bytes)?;
    out.write_all(&by.sign(LABEL, &Sha256::digest(&bytes)))?;
    Ok((out.finish()?, manifest))
}

fn copy(from: impl Read, length: u64, out: &mut impl Write) -> Result<(u64, [u8; 32]), BackupError> {
    out.write_all(&length.to_le_bytes())?;
    let mut hashed = Hashed { inner: from.take(length), hash: Sha256::new(), read: 0 };
    io::copy(&mut hashed, out)?;
    if hashed.read != length {
        return Err(BackupError::Io(io::ErrorKind::UnexpectedEof));
    }
    Ok((length, hashed.hash.finalize().into()))
}

fn json(value: &impl Serialize) -> Result<Vec<u8>, BackupError> {
    serde_json::to_vec(value).map_err(|_| BackupError::Malformed { what: "manifeste" })
}

fn put(out: &mut impl Write, bytes: &[u8]) -> Result<(), BackupError> {
    let length = u32::try_from(bytes.len()).map_err(|_| BackupError::Malformed { what: "manifeste" })?;
    out.write_all(&length.to_le_bytes())?;
    Ok(out.write_all(bytes)?)
}

/// A backup that was read whole: every byte is what somebody sealed to the recovery key, which anybody can who has its public part.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub struct Unverified {
    manifest: Manifest,
    /// Of the manifest's bytes.
    digest: [u8; 32],
    signature: Option<[u8; SIGNATURE_LEN]>,
}

impl Unverified {
    /// What it says of itself.
    pub fn facts(&self) -> &Facts {
        &self.manifest.facts
    }
    /// Whether it is of the version before signatures.
    pub fn is_unsigned(&self) -> bool {
        self.signature.is_none()
    }
    /// The manifest, once it is found to be of `role`, which has signed it with the key that `agreement` gives it. Whether that is the
    /// agreement and the role that are meant is for the caller to know, and not by the backup: every role of an agreement can sign.
    ///
    /// # Errors
    /// `OtherRole`, `Unsigned`, `OtherAgreement`, `Signature`.
    pub fn signed(self, agreement: &ParsedAgreement, role: &RoleId) -> Result<Manifest, BackupError> {
        self.is_of(role)?;
        let signature = self.signature.ok_or(BackupError::Unsigned)?;
        let (hash, facts) = (agreement.hash(), &self.manifest.facts);
        if facts.agreement != hash.to_string() {
            return Err(BackupError::OtherAgreement { found: facts.agreement.clone() });
        }
        let refused = || BackupError::Signature { role: facts.role.clone() };
        signer::verify(agreement.agreement(), hash.as_bytes(), role, LABEL, &self.digest, &signature).map_err(|_| refused())?;
        Ok(self.manifest)
    }
    /// The manifest of a backup of the version before signatures, which says that it is of `role` and which anybody may have made.
    ///
    /// # Errors
    /// `OtherRole`; `Signature` for one that has one, which is to be verified.
    pub fn unsigned(self, role: &RoleId) -> Result<Manifest, BackupError> {
        self.is_of(role)?;
        let role = self.manifest.facts.role.clone();
        if self.is_unsigned() { Ok(self.manifest) } else { Err(BackupError::Signature { role }) }
    }
    fn is_of(&self, role: &RoleId) -> Result<(), BackupError> {
        let (found, expected) = (self.manifest.facts.role.clone(), role.to_string());
        if found == expected { Ok(()) } else { Err(BackupError::OtherRole { found, expected }) }
    }
}

/// Reads the whole backup at `path`. `facts` may refuse it at once; `each` is given every file, and need not read it.
/// When this returns without an error, every byte was what was written.
///
/// # Errors
/// [`BackupError`], or what `facts` or `each` return.
pub fn read<E: From<BackupError>>(
    path: &Path,
    key: &SealingKey,
    facts: impl FnOnce(&Facts) -> Result<(), E>,
    each: impl FnMut(&str, &mut dyn Read) -> Result<(), E>,
) -> Result<Unverified, E> {
    let file = File::open(path).map_err(BackupError::from)?;
    unpack(SealReader::new(file, key)?, facts, each)
}

pub(super) fn unpack<E: From<BackupError>>(
    mut input: SealReader<impl Read>,
    facts: impl FnOnce(&Facts) -> Result<(), E>,
    mut each: impl FnMut(&str, &mut dyn Read) -> Result<(), E>,
) -> Result<Unverified, E> {
    let (found, _): (Facts, _) = get_json(&mut input)?;
    if ![UNSIGNED, FORMAT].contains(&found.format) {
        return Err(BackupError::NotABackup.into());
    }
    facts(&found)?;
    let mut files: Vec<FileFacts> = Vec::new();
    loop {
        let length = usize::from(u16::from_le_bytes(get(&mut input)?));
        if length == 0 {
            break;
        }
        let mut name = vec![0; length.min(NAME_LIMIT + 1)];
        input.read_exact(&mut name).map_err(|e| ended(e, "nom"))?;
        let name = String::from_utf8(name).ok().filter(|name| is_safe(name)).ok_or(BackupError::Malformed { what: "nom" })?;
        let size = u64::from_le_bytes(get(&mut input)?);
        let mut hashed = Hashed { inner: (&mut input).take(size), hash: Sha256::new(), read: 0 };
        each(&name, &mut hashed)?;
        io::copy(&mut hashed, &mut io::sink()).map_err(BackupError::from)?;
        if hashed.read != size {
            return Err(BackupError::Malformed { what: "taille" }.into());
        }
        files.push(FileFacts { name, bytes: size, sha256: hex::encode(hashed.hash.finalize()) });
    }
    let (manifest, digest): (Manifest, _) = get_json(&mut input)?;
    let signature = if found.format == UNSIGNED { None } else { Some(get(&mut input)?) };
    if io::copy(&mut input, &mut io::sink()).map_err(BackupError::from)? > 0 {
        return Err(BackupError::Malformed { what: "suite" }.into());
    }
    if manifest.facts != found || manifest.files.len() != files.len() {
        return Err(BackupError::Malformed { what: "manifeste" }.into());
    }
    for (said, found) in manifest.files.iter().zip(&files) {
        if said != found {
            return Err(BackupError::Digest { name: found.name.clone() }.into());
        }
    }
    Ok(Unverified { manifest, digest, signature })
}

fn ended(error: io::Error, what: &'static str) -> BackupError {
    if error.kind() == io::ErrorKind::UnexpectedEof { BackupError::Malformed { what } } else { error.into() }
}

fn get<const N: usize>(input: &mut impl Read) -> Result<[u8; N], BackupError> {
    let mut bytes = [0; N];
    input.read_exact(&mut bytes).map_err(|e| ended(e, "fin"))?;
    Ok(bytes)
}

/// A value, and the digest of its bytes.
fn get_json<T: serde::de::DeserializeOwned>(input: &mut impl Read) -> Result<(T, [u8; 32]), BackupError> {
    let length = u32::from_le_bytes(get(input)?);
    let malformed = || BackupError::Malformed { what: "manifeste" };
    if length > JSON_LIMIT {
        return Err(malformed());
    }
    let mut bytes = Vec::new();
    input.take(u64::from(length)).read_to_end(&mut bytes)?;
    Ok((serde_json::from_slice(&bytes).map_err(|_| malformed())?, Sha256::digest(&bytes).into()))
}

/// Whether a name stays below the folder that it is unpacked into.
fn is_safe(name: &str) -> bool {
    let below = [SETTINGS, AUDIT, STATE].iter().find_map(|start| name.strip_prefix(start));
    let plain = |part: &str| !part.is_empty() && part != "." && part != ".." && !part.contains(['\\', '\0']);
    name.len() <= NAME_LIMIT && below.is_some_and(|rest| rest.split('/').all(plain))
}

/// Digests what is read through it.
struct Hashed<R> {
    inner: R,
    hash: Sha256,
    read: u64,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(into)?;
        self.hash.update(into.get(..read).unwrap_or_default());
        self.read += read as u64;
        Ok(read)
    }
}
