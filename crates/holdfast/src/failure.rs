//! What the command line says when something is wrong: one sentence that says
//! what to do, and an exit code.

use std::io::{Error, ErrorKind};
use std::path::Path;

/// A failure as the person at the terminal sees it. Exit code 2 when something
/// has to be put right, 1 when a check came out negative.
#[derive(Debug)]
pub struct Failure {
    message: String,
    code: u8,
}

impl Failure {
    /// Something has to be put right first.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: 2 }
    }

    /// The command did its work, and what it checked is not as it should be.
    pub fn negative(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: 1 }
    }

    /// A file or folder could not be used.
    pub fn io(verb: &str, path: &Path, error: &Error) -> Self {
        let why = match error.kind() {
            ErrorKind::NotFound => "it does not exist".to_owned(),
            ErrorKind::PermissionDenied => "permission denied".to_owned(),
            ErrorKind::StorageFull => "the disk is full".to_owned(),
            _ => error.to_string(),
        };
        Self::new(format!("cannot {verb} {}: {why}", path.display()))
    }

    /// The exit code.
    pub fn code(&self) -> u8 {
        self.code
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

/// An error with everything behind it, in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
