//! Files that are whole or absent, and private ones that stay private.
//!
//! A process may be killed, or the disk may fill, between any two system calls. [`write_atomic`] therefore
//! writes a temporary file in the same directory, synchronises it, renames it over the old one and
//! synchronises the directory: a reader sees the old bytes or the new ones, never a mixture. Every file
//! made here has mode 0600; [`write_atomic_public`] is for certificates, which are meant to be read.
//! [`read_private`] refuses a secret that other accounts of the machine could have read. A secret that root holds for an
//! unprivileged service may be read by one group, the service's: so do secret volumes of Kubernetes come (root, `fsGroup`,
//! 0440). The rule is PostgreSQL's for its own key (`ssl_key_file`, documentation of version 17, section 18.9.1).

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

/// Why a file could not be read. Texts are for the operator: they name the file and the next step.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// No such file.
    #[error("{} : fichier introuvable ; vérifiez le chemin donné dans la configuration", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// The system refused.
    #[error("{} : lecture impossible ({kind}) ; vérifiez les droits du compte qui exécute le service", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system answered.
        kind: io::ErrorKind,
    },
    /// A secret that the group or others may read or write.
    #[error("{} : ce fichier secret est accessible à d'autres comptes (mode {mode:04o}) ; exécutez : chmod 600 {}", path.display(), shell_word(path))]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Larger than such a file can be.
    #[error("{} : fichier trop grand (plus de {limit} octets) ; vérifiez que c'est le bon fichier", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Most bytes allowed.
        limit: u64,
    },
    /// Not a text.
    #[error("{} : ce fichier n'est pas un texte UTF-8 ; enregistrez-le en UTF-8", path.display())]
    NotUtf8 {
        /// The file.
        path: PathBuf,
    },
}

/// Replaces the file at `path` by `bytes`, mode 0600, all or nothing.
///
/// # Errors
/// The system's error; the old file is then untouched and no temporary file is left.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write_atomic_with(path, |file| file.write_all(bytes))
}

/// As [`write_atomic`], for what is too long to be held: `write` is given the file and may write as it goes.
///
/// # Errors
/// What `write` returns, or the system's error; the old file is then untouched and no temporary file is left.
pub fn write_atomic_with<T, E: From<io::Error>>(path: &Path, write: impl FnOnce(&mut File) -> Result<T, E>) -> Result<T, E> {
    replace(path, 0o600, write)
}

/// As [`write_atomic`], mode 0644: for what others are meant to read, such as certificates.
///
/// # Errors
/// As [`write_atomic`].
pub fn write_atomic_public(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace(path, 0o644, |file| file.write_all(bytes))
}

/// Creates `path` and its parents, mode 0700 for those that are new.
///
/// # Errors
/// The system's error.
pub fn create_private_dir(path: &Path) -> io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// Reads a file of at most `limit` bytes.
///
/// # Errors
/// [`FileError`], never `Exposed`.
pub fn read_limited(path: &Path, limit: u64) -> Result<Vec<u8>, FileError> {
    read_open(open(path)?, path, limit)
}

/// Reads a text of at most `limit` bytes.
///
/// # Errors
/// [`FileError`], never `Exposed`.
pub fn read_text(path: &Path, limit: u64) -> Result<String, FileError> {
    String::from_utf8(read_limited(path, limit)?).map_err(|_| FileError::NotUtf8 { path: path.to_owned() })
}

/// Reads a secret of at most `limit` bytes, which group and others must have no right on; the group may read it where it is
/// root's and this process is not root.
///
/// The mode is asked of the open file, so that it cannot be exchanged between check and reading.
///
/// # Errors
/// [`FileError`].
pub fn read_private(path: &Path, limit: u64) -> Result<Zeroizing<Vec<u8>>, FileError> {
    let file = open(path)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let held = file.metadata().map_err(|e| unreadable(path, &e))?;
        let mode = held.mode() & 0o7777;
        if !is_private(held.uid(), mode, rustix::process::geteuid().as_raw()) {
            return Err(FileError::Exposed { path: path.to_owned(), mode });
        }
    }
    read_open(file, path, limit).map(Zeroizing::new)
}

/// Whether a file of `owner` with `mode` is a secret of the process that runs as `account`.
#[cfg(unix)]
fn is_private(owner: u32, mode: u32, account: u32) -> bool {
    let held_by_root_for_a_service = owner == 0 && account != 0;
    mode & (if held_by_root_for_a_service { 0o037 } else { 0o077 }) == 0
}

/// Bytes that this process may still write on the disk of `folder`; none where the system does not say.
pub fn free_bytes(folder: &Path) -> Option<u64> {
    #[cfg(unix)]
    return rustix::fs::statvfs(folder).ok().and_then(|disk| disk.f_bavail.checked_mul(disk.f_frsize));
    #[cfg(not(unix))]
    return None.filter(|_: &u64| folder.is_dir());
}

/// Whether `error` says that no room is left: disk full or quota used up.
pub fn is_disk_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Whether an [`io::Error`] that says so stands anywhere in the chain of sources of `error`.
pub fn is_disk_full_in(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if error.downcast_ref::<io::Error>().is_some_and(is_disk_full) {
            return true;
        }
        next = error.source();
    }
    false
}

/// Overwrites a file where it lies, and removes it. On disks that write elsewhere (SSD, snapshots, copies) old bytes may stay.
///
/// # Errors
/// The system's error.
pub fn destroy(path: &Path) -> io::Result<()> {
    let mut file = std::fs::OpenOptions::new().write(true).open(path)?;
    let len = file.metadata()?.len();
    io::copy(&mut io::Read::take(io::repeat(b'0'), len), &mut file)?;
    file.sync_all()?;
    std::fs::remove_file(path)
}

/// Synchronises a directory, so that the names in it survive a loss of power.
///
/// # Errors
/// The system's error.
pub fn sync_dir(dir: &Path) -> io::Result<()> {
    // Only unix lets a directory be opened; elsewhere the rename itself is as much as can be asked.
    if cfg!(unix) { File::open(dir)?.sync_all() } else { Ok(()) }
}

fn replace<T, E: From<io::Error>>(path: &Path, mode: u32, write: impl FnOnce(&mut File) -> Result<T, E>) -> Result<T, E> {
    let dir = match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    };
    let name = path.file_name().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    let mut temporary_name = std::ffi::OsString::from(".");
    temporary_name.push(name);
    temporary_name.push(format!(".{:016x}.tmp", getrandom::u64().map_err(io::Error::other)?));
    let mut temporary = Temporary { path: dir.join(temporary_name), keep: false };

    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    #[cfg(not(unix))]
    let _ = mode;
    let mut file = options.open(&temporary.path)?;
    let written = write(&mut file)?;
    file.sync_all()?;
    drop(file);
    std::fs::rename(&temporary.path, path)?;
    temporary.keep = true;
    sync_dir(dir)?;
    Ok(written)
}

/// Removes the file it names unless it was renamed into place.
struct Temporary {
    path: PathBuf,
    keep: bool,
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.keep {
            // Nothing can be done here when this fails as well; the name says that the file is of no worth.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn open(path: &Path) -> Result<File, FileError> {
    File::open(path).map_err(|e| unreadable(path, &e))
}

fn read_open(file: File, path: &Path, limit: u64) -> Result<Vec<u8>, FileError> {
    let expected = file.metadata().map_err(|e| unreadable(path, &e))?.len();
    // Sized once: a buffer that grows leaves copies of a secret behind.
    let mut bytes = Vec::with_capacity(expected.min(limit) as usize + 1);
    file.take(limit + 1).read_to_end(&mut bytes).map_err(|e| unreadable(path, &e))?;
    if bytes.len() as u64 > limit {
        return Err(FileError::TooLarge { path: path.to_owned(), limit });
    }
    Ok(bytes)
}

fn unreadable(path: &Path, error: &io::Error) -> FileError {
    match error.kind() {
        io::ErrorKind::NotFound => FileError::Missing { path: path.to_owned() },
        kind => FileError::Unreadable { path: path.to_owned(), kind },
    }
}

/// The path as one word of a shell command.
fn shell_word(path: &Path) -> String {
    let text = path.display().to_string();
    if text.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._-+".contains(&b)) {
        text
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_write_replaces_the_whole_file_and_leaves_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        write_atomic(&path, b"a longer first text").unwrap();
        write_atomic(&path, b"second").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"second");
        assert_eq!(names(dir.path()), ["state"]);
    }

    #[test]
    fn a_failed_write_leaves_the_old_file_and_no_temporary_one() {
        let dir = tempfile::tempdir().unwrap();
        // A directory that is not empty cannot be renamed over: the last step fails.
        let path = dir.path().join("state");
        std::fs::create_dir(&path).unwrap();
        std::fs::write(path.join("inside"), b"x").unwrap();
        assert!(write_atomic(&path, b"new").is_err());
        assert_eq!(names(dir.path()), ["state"]);
        assert_eq!(names(&path), ["inside"]);
    }

    #[test]
    fn what_fails_half_way_leaves_the_old_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        write_atomic_with(&path, |file| file.write_all(b"first")).unwrap();
        let failed: io::Result<()> = write_atomic_with(&path, |file| {
            file.write_all(b"half")?;
            Err(io::ErrorKind::InvalidData.into())
        });
        assert_eq!(failed.map_err(|e| e.kind()), Err(io::ErrorKind::InvalidData));
        assert_eq!(std::fs::read(&path).unwrap(), b"first");
        assert_eq!(names(dir.path()), ["state"]);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_is_told_apart() {
        let mut full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let error = full.write_all(b"x").unwrap_err();
        assert!(is_disk_full(&error));
        assert!(!is_disk_full(&io::Error::from(io::ErrorKind::NotFound)));
        assert!(is_disk_full_in(&error));
    }

    #[cfg(unix)]
    #[test]
    fn a_secret_that_others_may_read_is_refused_with_the_command_to_run() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("the key");
        write_atomic(&path, b"secret").unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(read_private(&path, 10).unwrap().as_slice(), b"secret");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        let error = read_private(&path, 10).unwrap_err();
        assert_eq!(error, FileError::Exposed { path: path.clone(), mode: 0o640 });
        assert!(error.to_string().ends_with(&format!("chmod 600 '{}'", path.display())));
    }

    #[cfg(unix)]
    #[test]
    fn only_what_root_holds_for_a_service_may_be_read_by_its_group() {
        const SERVICE: u32 = 65_532;
        for private in [(SERVICE, 0o600), (SERVICE, 0o400), (0, 0o400), (0, 0o440), (0, 0o640)] {
            assert!(is_private(private.0, private.1, SERVICE), "{private:?}");
        }
        for exposed in [(SERVICE, 0o640), (SERVICE, 0o440), (1000, 0o440), (0, 0o660), (0, 0o444), (0, 0o450), (0, 0o604)] {
            assert!(!is_private(exposed.0, exposed.1, SERVICE), "{exposed:?}");
        }
        assert!(is_private(0, 0o600, 0) && !is_private(0, 0o440, 0));
    }

    #[test]
    fn a_file_of_another_size_than_it_may_have_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        write_atomic_public(&path, b"12345").unwrap();
        assert_eq!(read_limited(&path, 5).unwrap(), b"12345");
        assert_eq!(read_limited(&path, 4).unwrap_err(), FileError::TooLarge { path: path.clone(), limit: 4 });
        let absent = dir.path().join("absent");
        assert_eq!(read_limited(&absent, 4).unwrap_err(), FileError::Missing { path: absent });
    }
}
