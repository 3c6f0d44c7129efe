//! Counts writes, so that tests can stop the keeper's files after each of them as
//! if the power had failed. Outside of tests it counts nothing.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// Passed before and after every durable write.
#[derive(Debug, Clone, Default)]
pub(crate) struct Steps(Option<Arc<AtomicI64>>);

impl Steps {
    /// The power fails after `count` steps: every later step is refused.
    #[cfg(test)]
    pub fn stop_after(count: i64) -> Self {
        Self(Some(Arc::new(AtomicI64::new(count))))
    }

    /// Steps that were not used up; below zero when one was refused.
    #[cfg(test)]
    pub fn left(&self) -> i64 {
        self.0.as_ref().map_or(i64::MAX, |left| left.load(Ordering::SeqCst))
    }

    /// One step.
    pub fn step(&self) -> io::Result<()> {
        let left = self.0.as_ref().map_or(1, |left| left.fetch_sub(1, Ordering::SeqCst));
        if left > 0 { Ok(()) } else { Err(io::Error::other("the power failed here")) }
    }
}
