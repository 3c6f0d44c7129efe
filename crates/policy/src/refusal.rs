//! Why something is refused.

use holdfast_base::Category;

/// A refusal. `reason` and `detail` are for the ledger and the privacy office;
/// a door tells the caller only that it is not permitted, because a reason such
/// as `opted-out` says that the record exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Refusal {
    /// The reason code, as in the ledger's refusal entries.
    pub reason: &'static str,
    /// One sentence for people; no data of a record.
    pub detail: &'static str,
}

impl Refusal {
    pub(crate) const fn new(reason: &'static str, detail: &'static str) -> Self {
        Self { reason, detail }
    }

    /// Always [`Category::Forbidden`].
    pub fn category(&self) -> Category {
        Category::Forbidden
    }
}
