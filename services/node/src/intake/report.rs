//! The list of lines set aside and of values left out, for the party's own operators: CSV, French, line numbers and
//! reasons only, never a value.
//!
//! UTF-8 with byte order mark, `;` and CRLF, so that a double click opens it in a spreadsheet. The file takes its name
//! when it is complete: what stands under that name is never half a list, and a list that is not finished leaves nothing.

use std::fmt::Display;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use super::SetAsideReason;

/// Writes a list of faults.
pub struct SetAsideReport {
    out: BufWriter<File>,
    path: PathBuf,
    partial: PathBuf,
    rows: u64,
    finished: bool,
}

impl Drop for SetAsideReport {
    fn drop(&mut self) {
        // A delivery that is refused has no list; what cannot be removed is replaced by the next one.
        if !self.finished {
            let _ = fs::remove_file(&self.partial);
        }
    }
}

impl SetAsideReport {
    /// Starts a list that will stand at `path`.
    pub fn create(path: &Path) -> io::Result<Self> {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(".partiel");
        let partial = path.with_file_name(name);
        let mut out = BufWriter::new(File::create(&partial)?);
        out.write_all("\u{FEFF}ligne;motif\r\n".as_bytes())?;
        Ok(Self { out, path: path.to_owned(), partial, rows: 0, finished: false })
    }

    /// Lists a line set aside.
    pub fn set_aside(&mut self, line: u64, reason: SetAsideReason) -> io::Result<()> {
        self.row(line, &reason)
    }

    /// Lists an attribute of a line whose value the agreement's rule does not allow.
    pub fn outside_rule(&mut self, line: u64, attribute: &str) -> io::Result<()> {
        self.row(line, &format_args!("attribut « {attribute} » hors de la règle de la convention : valeur non transmise"))
    }

    /// Lists a line with a reason given by another step; the reason must hold no value.
    pub fn row(&mut self, line: u64, reason: &dyn Display) -> io::Result<()> {
        self.rows += 1;
        let text = reason.to_string();
        if text.contains([';', '"', '\n', '\r']) {
            write!(self.out, "{line};\"{}\"\r\n", text.replace('"', "\"\""))
        } else {
            write!(self.out, "{line};{text}\r\n")
        }
    }

    /// Completes the list and gives it its name; returns the number of its rows.
    pub fn finish(mut self) -> io::Result<u64> {
        self.out.flush()?;
        self.out.get_ref().sync_all()?;
        fs::rename(&self.partial, &self.path)?;
        self.finished = true;
        Ok(self.rows)
    }
}
