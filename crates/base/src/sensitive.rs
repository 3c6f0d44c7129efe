//! Values that must not be printed, and values that may.

/// A value about a person. `Debug` prints `[phi]`; there is no `Display` and no
/// `Serialize`, so that it cannot reach a log, an error or an answer by accident.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Sensitive<T>(T);

impl<T> Sensitive<T> {
    /// Marks `value` as sensitive.
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// The value. Each call is a place where disclosure is decided.
    pub const fn expose(&self) -> &T {
        &self.0
    }

    /// The value itself. Each call is a place where disclosure is decided.
    pub fn into_exposed(self) -> T {
        self.0
    }

    /// Applies `f` without giving the mark up.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Sensitive<U> {
        Sensitive(f(self.0))
    }
}

impl<T> std::fmt::Debug for Sensitive<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[phi]")
    }
}

impl<T> From<T> for Sensitive<T> {
    fn from(value: T) -> Self {
        Self(value)
    }
}

/// Marks types that may stand in a log line: identifiers of ours, counts,
/// times, categories; never a value that came from a record.
pub trait LogSafe: std::fmt::Display {}

impl LogSafe for u64 {}
impl LogSafe for usize {}
impl LogSafe for crate::OrganizationId {}
impl LogSafe for crate::PrincipalId {}
impl LogSafe for crate::PatientId {}
impl LogSafe for crate::PersonId {}
impl LogSafe for crate::SessionId {}
impl LogSafe for crate::RequestId {}
impl LogSafe for crate::MessageId {}
impl LogSafe for crate::IncidentId {}
impl LogSafe for crate::LedgerIndex {}
impl LogSafe for crate::CommitNumber {}
impl LogSafe for crate::Timestamp {}
impl LogSafe for crate::ElementClass {}
impl LogSafe for crate::Purpose {}
