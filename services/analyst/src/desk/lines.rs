//! A file of lines that several processes append to under one lock, and each reads on where it stopped.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::PathBuf;

use linkage_common::error::ServiceError;
use sha2::{Digest, Sha256};

/// What this process has read of the file.
pub(super) struct Lines {
    path: PathBuf,
    read: u64,
    /// Which file that was: one put back from a backup is another.
    file: Option<[u64; 2]>,
}

/// What is new in a file.
pub(super) struct News {
    /// The file is not the one that was read, or shorter: what is new is all that it holds.
    pub again: bool,
    /// Whole lines, each with its end.
    pub text: Vec<u8>,
}

impl Lines {
    /// Of a file of which nothing was read.
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, read: 0, file: None }
    }

    /// The file, made (mode 0600) where there is none.
    pub(super) fn open(&self) -> Result<File, ServiceError> {
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        Ok(options.open(&self.path)?)
    }

    /// What others have added since, the file being locked by the caller.
    pub(super) fn news(&mut self, file: &mut File) -> Result<News, ServiceError> {
        let metadata = file.metadata()?;
        let now = identity(&metadata);
        let again = self.read > 0 && (self.file != Some(now) || metadata.len() < self.read);
        if again {
            self.read = 0;
        }
        self.file = Some(now);
        file.seek(SeekFrom::Start(self.read))?;
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        // What a killed process left is cut off: nothing of it was shown.
        let whole = text.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
        if whole < text.len() {
            file.set_len(self.read + whole as u64)?;
            text.truncate(whole);
        }
        self.read += whole as u64;
        Ok(News { again, text })
    }

    /// Adds whole lines, durably.
    pub(super) fn append(&mut self, file: &mut File, text: &[u8]) -> Result<(), ServiceError> {
        if let Err(error) = file.write_all(text).and_then(|()| file.sync_data()) {
            // Half a line may be there: the next to lock cuts it off, and this process reads the whole file again.
            self.file = None;
            return Err(error.into());
        }
        self.read += text.len() as u64;
        Ok(())
    }
}

#[cfg(unix)]
fn identity(metadata: &std::fs::Metadata) -> [u64; 2] {
    use std::os::unix::fs::MetadataExt;
    [metadata.dev(), metadata.ino()]
}
#[cfg(not(unix))]
fn identity(_: &std::fs::Metadata) -> [u64; 2] {
    [0; 2]
}

/// Lines of a text, without their ends.
pub(super) fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|b| *b == b'\n').filter(|line| !line.is_empty())
}

/// What a line is known by.
pub(super) fn digest(line: &[u8]) -> [u8; 16] {
    let mut short = [0; 16];
    short.copy_from_slice(&Sha256::digest(line)[..16]);
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reads_on_where_it_stopped_and_again_when_the_file_is_another() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lines");
        let (mut one, mut other) = (Lines::new(path.clone()), Lines::new(path.clone()));
        let news = |lines: &mut Lines| {
            let news = lines.news(&mut lines.open().unwrap()).unwrap();
            (news.again, String::from_utf8(news.text).unwrap())
        };
        assert_eq!(news(&mut one), (false, String::new()));
        one.append(&mut one.open().unwrap(), b"a\nb\n").unwrap();
        assert_eq!((news(&mut one), news(&mut other)), ((false, String::new()), (false, "a\nb\n".to_owned())));
        // What a killed process left is cut off.
        other.append(&mut other.open().unwrap(), b"c\nd").unwrap();
        assert_eq!(news(&mut one), (false, "c\n".to_owned()));
        // A file cut short; a file from a backup, of whatever length.
        one.open().unwrap().set_len(2).unwrap();
        assert_eq!(news(&mut one), (true, "a\n".to_owned()));
        linkage_common::fsx::write_atomic(&path, b"z\n").unwrap();
        assert_eq!(news(&mut one), (true, "z\n".to_owned()));
        assert_eq!(news(&mut one), (false, String::new()));
    }
}
