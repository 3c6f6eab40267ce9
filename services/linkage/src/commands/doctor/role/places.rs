//! The folders of a role: whose they are, and how much room is left where they lie.

use std::path::Path;

use linkage_common::audit::AuditConfig;
use linkage_common::fsx;

use super::{DISK_FAULT, DISK_TOLD, Findings};

/// The folder of the role's data.
pub(super) fn data(folder: &Path, found: &mut Findings) {
    private(folder, found);
    room(folder, found);
}

/// The folder of its audit log, which may lie elsewhere: without room for an entry, a role does nothing that has to be entered.
pub(super) fn audit(config: &AuditConfig, data: &Path, found: &mut Findings) {
    let place = match config.place(data) {
        Ok(place) => place,
        Err(error) => return found.fault("journal", error.to_string()),
    };
    let shown = place.folder.display();
    match std::fs::metadata(&place.folder) {
        Ok(metadata) if metadata.is_dir() => {
            found.good(
                "journal",
                format!("{shown} : journal d'audit « {} » présent (linkage audit verify le vérifie)", place.log),
            );
        }
        Ok(_) => found.fault("journal", format!("{shown} : ce n'est pas un dossier ; déplacez ce fichier ou corrigez [audit]")),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            found.good("journal", format!("{shown} : pas encore créé ; le service le fera en démarrant"));
        }
        Err(error) => {
            found.fault("journal", format!("{shown} : inaccessible ({}) ; vérifiez les droits de ce compte", error.kind()));
        }
    }
    private(&place.folder, found);
    if !place.folder.starts_with(data) {
        room(&place.folder, found);
    }
}

fn private(folder: &Path, found: &mut Findings) {
    #[cfg(unix)]
    if let Ok(metadata) = std::fs::metadata(folder) {
        use std::os::unix::fs::PermissionsExt as _;
        let (shown, mode) = (folder.display(), metadata.permissions().mode() & 0o777);
        if mode & 0o077 == 0 {
            found.good("permissions", format!("{shown} : à ce compte seul"));
        } else {
            found.fault(
                "permissions",
                format!("{shown} : dossier accessible à d'autres comptes (mode {mode:04o}) ; exécutez : chmod 700 {shown}"),
            );
        }
    }
    #[cfg(not(unix))]
    let _ = (folder, found);
}

fn room(folder: &Path, found: &mut Findings) {
    let shown = folder.display();
    // A folder that the role has not made yet is on the disk of the one above it.
    let existing = folder.ancestors().find(|folder| folder.is_dir()).unwrap_or(Path::new("."));
    match fsx::free_bytes(existing) {
        None => found.warning("disque", format!("{shown} : espace libre inconnu")),
        Some(free) if free < DISK_FAULT => found.fault("disque", format!("{shown} : presque plein ; faites de la place")),
        Some(free) if free < DISK_TOLD => {
            found.warning("disque", format!("{shown} : moins de 2 Gio libres ; faites de la place"));
        }
        Some(_) => found.good("disque", format!("{shown} : plus de 2 Gio libres")),
    }
}
