//! Filters of one party, one row of 64-bit words each, with their popcounts.
//!
//! All rows have one length. A length that is not a whole number of words is filled up with zeros, which change no
//! popcount and so no coefficient.

/// Longest filter taken, in bytes (32,768 bits). clkhash's own default is 128 bytes.
pub const MAX_BYTES: usize = 4096;

/// Why a filter was refused. Places are indices from 0, as in the pairs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FilterError {
    /// No bits at all.
    #[error("filtre {index} : vide (0 octet)")]
    Empty {
        /// The filter.
        index: u32,
    },
    /// Longer than [`MAX_BYTES`].
    #[error("filtre {index} : plus de {MAX_BYTES} octets")]
    TooLong {
        /// The filter.
        index: u32,
    },
    /// Not as long as those before it.
    #[error("filtre {index} : {bytes} octets, alors que les précédents en ont {expected}")]
    Length {
        /// The filter.
        index: u32,
        /// Its length.
        bytes: usize,
        /// The length of the others.
        expected: usize,
    },
    /// More filters than an index can name.
    #[error("plus de 4 294 967 295 filtres")]
    TooMany,
}

/// Filters of one length.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filters {
    bytes: usize,
    words: usize,
    data: Vec<u64>,
    counts: Vec<u32>,
    ends_aside: bool,
}

impl Filters {
    /// None yet; the first one sets the length.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one filter.
    ///
    /// # Errors
    /// When it is empty, too long, or not as long as the first one.
    pub fn push(&mut self, filter: &[u8]) -> Result<(), FilterError> {
        let index = u32::try_from(self.counts.len()).map_err(|_| FilterError::TooMany)?;
        if filter.is_empty() {
            return Err(FilterError::Empty { index });
        }
        if filter.len() > MAX_BYTES {
            return Err(FilterError::TooLong { index });
        }
        if index == 0 {
            self.bytes = filter.len();
            self.words = filter.len().div_ceil(8);
        } else if filter.len() != self.bytes {
            return Err(FilterError::Length { index, bytes: filter.len(), expected: self.bytes });
        }
        let mut count = 0;
        self.data.extend(filter.chunks(8).map(|chunk| {
            let mut word = [0; 8];
            word.iter_mut().zip(chunk).for_each(|(to, from)| *to = *from);
            let word = u64::from_le_bytes(word);
            count += word.count_ones();
            word
        }));
        self.counts.push(count);
        Ok(())
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.counts.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// Length of each in bits; 0 while there is none.
    pub fn bits(&self) -> usize {
        self.bytes * 8
    }

    /// Length of each in 64-bit words.
    pub fn words(&self) -> usize {
        self.words
    }

    /// Popcount of each.
    pub fn counts(&self) -> &[u32] {
        &self.counts
    }

    /// The words of filter `index`; empty when there is no such filter.
    pub fn row(&self, index: usize) -> &[u64] {
        self.data.get(index * self.words..(index + 1) * self.words).unwrap_or_default()
    }

    /// Filters without a bit set. None of them reaches a threshold above 0.
    pub fn zeros(&self) -> impl Iterator<Item = usize> + '_ {
        self.with_count(0)
    }

    /// Filters with all bits set. Each is about as like to any other, whoever it stands for.
    pub fn ones(&self) -> impl Iterator<Item = usize> + '_ {
        self.with_count(self.bits())
    }

    /// Leaves filters with no bit or all bits set out of comparisons; indices stay as they are.
    pub fn set_ends_aside(&mut self) {
        self.ends_aside = true;
    }

    /// Indices of the filters that are compared.
    pub(crate) fn compared(&self) -> impl Iterator<Item = u32> + '_ {
        let ends = if self.ends_aside { Some([0, self.bits()]) } else { None };
        let aside = move |count: u32| ends.is_some_and(|ends| ends.contains(&(count as usize)));
        (0..).zip(&self.counts).filter(move |(_, count)| !aside(**count)).map(|(index, _)| index)
    }

    fn with_count(&self, wanted: usize) -> impl Iterator<Item = usize> + '_ {
        self.counts.iter().enumerate().filter(move |(_, count)| **count as usize == wanted).map(|(index, _)| index)
    }
}
