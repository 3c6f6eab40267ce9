//! The French template that `linkage agreement init` writes.
//!
//! Every key is there with its unit and choices; what only the partners can know reads « À COMPLÉTER » and is the only
//! thing that `check` finds wrong with the file as delivered.

/// The template's text.
pub fn template_fr() -> String {
    include_str!("template_fr.toml").to_owned()
}
