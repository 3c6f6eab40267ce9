//! Packed little-endian bytes of what a step leaves for the next one.
//!
//! The broker stores a step's output and reads it back after a restart, so every reading checks kind, version and
//! exact length before it allocates: a truncated or foreign file is an error, never a panic and never a short result.

use crate::LinkError;

/// Version of every packed form in this crate; another version is refused.
pub(crate) const PACK_VERSION: u8 = 1;

/// Writes a packed form: kind, version, then values.
#[derive(Debug)]
pub(crate) struct Writer(Vec<u8>);

impl Writer {
    pub(crate) fn new(kind: u8) -> Self {
        Self(vec![kind, PACK_VERSION])
    }
    pub(crate) fn u8(&mut self, value: u8) {
        self.0.push(value);
    }
    pub(crate) fn u32(&mut self, value: u32) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }
    pub(crate) fn i32(&mut self, value: i32) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }
    pub(crate) fn u64(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }
    pub(crate) fn f64(&mut self, value: f64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }
    pub(crate) fn bytes(&mut self, value: &[u8]) {
        self.0.extend_from_slice(value);
    }
    pub(crate) fn finish(self) -> Vec<u8> {
        self.0
    }
}

/// Reads what `Writer` wrote.
#[derive(Debug)]
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Checks kind and version.
    pub(crate) fn new(kind: u8, bytes: &'a [u8]) -> Result<Self, LinkError> {
        let mut reader = Self(bytes);
        if reader.u8()? != kind {
            return Err(LinkError::Packed("another kind of data"));
        }
        if reader.u8()? != PACK_VERSION {
            return Err(LinkError::Packed("another version of the packed form"));
        }
        Ok(reader)
    }
    fn take<const N: usize>(&mut self) -> Result<[u8; N], LinkError> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or(LinkError::Packed("truncated"))?;
        self.0 = rest;
        Ok(*head)
    }
    pub(crate) fn u8(&mut self) -> Result<u8, LinkError> {
        Ok(u8::from_le_bytes(self.take()?))
    }
    pub(crate) fn u32(&mut self) -> Result<u32, LinkError> {
        Ok(u32::from_le_bytes(self.take()?))
    }
    pub(crate) fn i32(&mut self) -> Result<i32, LinkError> {
        Ok(i32::from_le_bytes(self.take()?))
    }
    pub(crate) fn u64(&mut self) -> Result<u64, LinkError> {
        Ok(u64::from_le_bytes(self.take()?))
    }
    pub(crate) fn f64(&mut self) -> Result<f64, LinkError> {
        Ok(f64::from_le_bytes(self.take()?))
    }
    pub(crate) fn array16(&mut self) -> Result<[u8; 16], LinkError> {
        self.take()
    }
    /// The next `len` bytes.
    pub(crate) fn slice(&mut self, len: usize) -> Result<&'a [u8], LinkError> {
        let (head, rest) = self.0.split_at_checked(len).ok_or(LinkError::Packed("truncated"))?;
        self.0 = rest;
        Ok(head)
    }
    /// A count of rows that each take at least `row_len` bytes: refused when the rest cannot hold them.
    pub(crate) fn count(&mut self, row_len: usize) -> Result<usize, LinkError> {
        let count = usize::try_from(self.u64()?).map_err(|_| LinkError::Packed("a count too large"))?;
        match count.checked_mul(row_len) {
            Some(len) if len <= self.0.len() => Ok(count),
            _ => Err(LinkError::Packed("truncated")),
        }
    }
    /// Refuses bytes after the end.
    pub(crate) fn finish(self) -> Result<(), LinkError> {
        if self.0.is_empty() { Ok(()) } else { Err(LinkError::Packed("bytes after the end")) }
    }
}
