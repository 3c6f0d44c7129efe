//! Byte strings as engines give and take them.

use std::sync::Arc;

use super::on_fjall::Slice;

/// A byte string that is cheaply cloned, whichever engine it came from.
#[derive(Clone)]
pub(crate) struct Bytes(Held);

#[derive(Clone)]
enum Held {
    /// Ours.
    Shared(Arc<Vec<u8>>),
    /// A part of what the embedded engine read; kept without a copy.
    Embedded(Slice),
}

impl Bytes {
    /// No bytes.
    pub(crate) fn empty() -> Self {
        Vec::new().into()
    }
}

impl std::ops::Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Held::Shared(bytes) => bytes,
            Held::Embedded(bytes) => bytes,
        }
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Held::Shared(Arc::new(bytes)))
    }
}

impl From<&[u8]> for Bytes {
    fn from(bytes: &[u8]) -> Self {
        bytes.to_vec().into()
    }
}

impl From<Slice> for Bytes {
    fn from(bytes: Slice) -> Self {
        Self(Held::Embedded(bytes))
    }
}

impl PartialEq for Bytes {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Bytes {}

/// How many, never which.
impl std::fmt::Debug for Bytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "[{} bytes]", self.len())
    }
}
