//! Byte strings as engines give and take them.

use super::on_fjall::Slice;

/// A byte string that is cheaply cloned, whichever engine it came from. Held as
/// the embedded engine takes and gives it, so that its writer copies nothing.
#[derive(Clone)]
pub(crate) struct Bytes(Slice);

impl Bytes {
    /// No bytes.
    pub(crate) fn empty() -> Self {
        Vec::new().into()
    }

    /// As the embedded engine takes them.
    pub(crate) fn embedded(&self) -> Slice {
        self.0.clone()
    }
}

impl std::ops::Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }
}

impl From<&[u8]> for Bytes {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }
}

impl From<Slice> for Bytes {
    fn from(bytes: Slice) -> Self {
        Self(bytes)
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
