//! The one vocabulary of faults. Every error of every room has a category; the
//! doors map it once to an HTTP status, an OperationOutcome code or MSA-1.

/// Whose fault an error is, and what the caller can do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Category {
    /// The request is malformed; repeating it unchanged is useless.
    Incorrect,
    /// The caller may not do this.
    Forbidden,
    /// It is not there, or the caller may not learn that it is.
    NotFound,
    /// It clashes with what is stored; read again and retry.
    Conflict,
    /// Not now; the same request may succeed later.
    Busy,
    /// Well-formed, and something that Holdfast does not do.
    Unsupported,
    /// Ours: a defect, a damaged disk, an unreachable keeper.
    Fault,
}
