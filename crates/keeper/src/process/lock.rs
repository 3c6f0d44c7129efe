//! What a keeper asks of the system before it holds a key: to be the only one in
//! its folder, no core files, no debugger, no swap.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::mm::{MlockAllFlags, mlockall};
use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, setrlimit, umask};
use rustix::thread::CapabilitySet;

/// Takes the lock on the keeper's folder; nothing when another keeper has it.
pub(super) fn take(dir: &Path) -> io::Result<Option<File>> {
    let mut options = OpenOptions::new();
    let options = options.write(true).create(true).truncate(false).mode(0o600);
    let file = options.open(dir.join("lock"))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// No core files, no debugger of another process, no files for others. What the
/// system does not offer is left out: none of it is what secrecy rests on.
pub(super) fn harden() {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    let _ = setrlimit(Resource::Core, none);
    let _ = rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable);
    umask(rustix::fs::Mode::from_raw_mode(0o077));
}

/// Keeps this process's memory, present and future, out of swap, and says whether
/// that is so. Left out where the system bounds locked memory: a keeper that runs
/// into the bound later would die of it.
pub(super) fn lock_memory() -> bool {
    let unbounded = getrlimit(Resource::Memlock).current.is_none();
    let privileged = rustix::thread::capabilities(None)
        .is_ok_and(|sets| sets.effective.contains(CapabilitySet::IPC_LOCK));
    // Pages are locked as they are touched: stacks and caches are larger than used.
    let flags = MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT;
    (unbounded || privileged) && mlockall(flags).is_ok()
}
