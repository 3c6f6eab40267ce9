//! Fuzz targets.
/// An agreement.
pub fn agreement(bytes: &[u8]) {
    let _ = bytes;
}
