//! What can be wrong with a backup, with its place in the file.

use std::io;
use std::path::PathBuf;

/// Why a backup could not be read. Blocks are numbered from 1, as they stand in the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BackupError {
    /// It begins with other bytes.
    #[error("ce fichier n'est pas une sauvegarde de linkage, ou il vient d'une version plus récente du programme")]
    NotABackup,
    /// Sealed to another key, or its head was changed.
    #[error(
        "cette clé de secours n'ouvre pas cette sauvegarde : prenez celle dont la partie publique a servi à la faire ; si c'est la bonne, l'en-tête du fichier a été altéré"
    )]
    OtherKey,
    /// The file ends before this block.
    #[error("sauvegarde tronquée : le bloc n° {block} et la suite manquent ; prenez une autre copie")]
    Truncated {
        /// The block that is not there.
        block: u64,
    },
    /// The file ends within this block, or the block was changed.
    #[error("sauvegarde coupée dans le bloc n° {block}, ou ce bloc est altéré ; prenez une autre copie")]
    Cut {
        /// The block.
        block: u64,
    },
    /// This block is not what was written.
    #[error("bloc n° {block} altéré ; prenez une autre copie")]
    Altered {
        /// The block.
        block: u64,
    },
    /// Another block of this backup stands here.
    #[error("à la place du bloc n° {block} se trouve le bloc n° {found} ; prenez une autre copie")]
    Moved {
        /// The block that belongs here.
        block: u64,
        /// The block that is here.
        found: u64,
    },
    /// Something follows the last block.
    #[error("des octets suivent le dernier bloc (n° {block}) ; prenez une autre copie")]
    Trailing {
        /// The last block.
        block: u64,
    },
    /// All blocks are as they were written, and yet it is no backup.
    #[error("contenu de la sauvegarde mal formé ({what}) ; elle vient d'une autre version du programme, ou d'un autre programme")]
    Malformed {
        /// What.
        what: &'static str,
    },
    /// A file in it has not the digest that its manifest says.
    #[error("le fichier {name} de la sauvegarde n'est pas celui que son manifeste décrit")]
    Digest {
        /// Which.
        name: String,
    },
    /// Of the version before signatures.
    #[error(
        "cette sauvegarde n'est pas signée : elle est d'une version d'avant les signatures, ou d'un autre programme, et rien ne dit qui l'a faite. Prenez-en une plus récente ; à défaut, si vous savez d'où elle vient (empreinte notée à part), --accept-unsigned en le consignant"
    )]
    Unsigned,
    /// Signed by somebody else than the role that it names, or changed since.
    #[error(
        "signature refusée : cette sauvegarde n'est pas celle qu'a faite {role} ; elle a été fabriquée ou modifiée, ne la restaurez pas et gardez-la à part"
    )]
    Signature {
        /// What it says that it is of.
        role: String,
    },
    /// Of another role than the one that is meant.
    #[error(
        "cette sauvegarde se dit de {found}, et c'est {expected} qui est attendu : ce n'est pas la sienne, prenez l'autre ; si celle-ci était rangée comme telle, gardez-la à part et ne la restaurez pas"
    )]
    OtherRole {
        /// What it says that it is of.
        found: String,
        /// Whose is meant.
        expected: String,
    },
    /// Made under another agreement than the one it is held against.
    #[error(
        "cette sauvegarde a été faite sous une autre convention, ou une autre version de celle-ci (empreinte {found}) ; prenez la version de ce jour-là"
    )]
    OtherAgreement {
        /// Hash of its own.
        found: String,
    },
    /// The disk has not enough room.
    #[error("{} : {needed} octets sont nécessaires, {free} sont libres ; faites de la place, puis relancez (rien n'a été écrit)", folder.display())]
    Room {
        /// Where.
        folder: PathBuf,
        /// Bytes that are to be written.
        needed: u64,
        /// Bytes that are free.
        free: u64,
    },
    /// The disk.
    #[error("lecture ou écriture impossible ({0})")]
    Io(io::ErrorKind),
}

impl From<io::Error> for BackupError {
    fn from(error: io::Error) -> Self {
        let kind = error.kind();
        error.downcast::<Self>().unwrap_or(Self::Io(kind))
    }
}

impl From<BackupError> for io::Error {
    fn from(error: BackupError) -> Self {
        Self::other(error)
    }
}
