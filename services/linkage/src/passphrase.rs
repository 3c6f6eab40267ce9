//! A passphrase from a file, or typed at the terminal without being shown.
//!
//! It is read from the terminal itself, never from the standard input, an argument or the environment: those end in files,
//! histories and lists of processes.

use std::path::Path;

use linkage_common::authority::passphrase::Passphrase;

/// The passphrase in `file`, or else typed after `question`.
pub(crate) fn given(file: Option<&Path>, question: &str) -> anyhow::Result<Passphrase> {
    Ok(match file {
        Some(file) => Passphrase::read(file)?,
        None => Passphrase::new(terminal::ask(question)?)?,
    })
}

/// A passphrase to set: one that is typed is asked for twice.
pub(crate) fn chosen(file: Option<&Path>, question: &str) -> anyhow::Result<Passphrase> {
    if let Some(file) = file {
        return Ok(Passphrase::read(file)?);
    }
    let typed = terminal::ask(question)?;
    if *typed != *terminal::ask("La même, une seconde fois : ")? {
        anyhow::bail!("les deux phrases de passe diffèrent ; rien n'a été écrit");
    }
    Ok(Passphrase::new(typed)?)
}

#[cfg(unix)]
mod terminal {
    use std::fs::{File, OpenOptions};
    use std::io::{Read as _, Write as _};

    use anyhow::Context as _;
    use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
    use zeroize::Zeroizing;

    /// Longest line that is read.
    const LIMIT: usize = 1024;

    /// A terminal that shows again what is typed once this is dropped.
    struct Silent<'t> {
        terminal: &'t File,
        before: Termios,
    }

    impl<'t> Silent<'t> {
        fn new(terminal: &'t File) -> rustix::io::Result<Self> {
            let before = tcgetattr(terminal)?;
            let mut silent = before.clone();
            silent.local_modes.remove(LocalModes::ECHO);
            silent.local_modes.insert(LocalModes::ECHONL);
            tcsetattr(terminal, OptionalActions::Flush, &silent)?;
            Ok(Self { terminal, before })
        }
    }

    impl Drop for Silent<'_> {
        fn drop(&mut self) {
            // Best effort: there is nobody left to tell.
            let _ = tcsetattr(self.terminal, OptionalActions::Flush, &self.before);
        }
    }

    pub(super) fn ask(question: &str) -> anyhow::Result<Zeroizing<String>> {
        let none = "aucun terminal où demander la phrase de passe ; donnez-la par --passphrase-file";
        let terminal = OpenOptions::new().read(true).write(true).open("/dev/tty").context(none)?;
        let _silent = Silent::new(&terminal).context(none)?;
        (&terminal).write_all(question.as_bytes())?;
        let mut line = Zeroizing::new(Vec::with_capacity(LIMIT));
        // One byte at a time: what a buffer held would stay in memory.
        let mut byte = [0];
        while (&terminal).read(&mut byte)? == 1 && byte != [b'\n'] && line.len() < LIMIT {
            line.extend_from_slice(&byte);
        }
        let text = std::str::from_utf8(&line).context("phrase de passe illisible : ce terminal n'est pas en UTF-8")?;
        Ok(Zeroizing::new(text.trim_end_matches('\r').to_owned()))
    }
}

#[cfg(not(unix))]
mod terminal {
    use zeroize::Zeroizing;

    pub(super) fn ask(_question: &str) -> anyhow::Result<Zeroizing<String>> {
        anyhow::bail!("sur ce système la phrase de passe ne se donne que par --passphrase-file")
    }
}
