//! Files and folders that are still there after a power loss.
//!
//! A file's bytes are durable once it is synced, its name once its folder is: what
//! is made without that may be gone although work went on for hours.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;

/// Makes `dir` and what is missing above it, for their owner only. An existing one
/// stays as it is. Their names are durable on return.
///
/// # Errors
/// When a folder cannot be made or synced.
pub fn make_folder(dir: &Path) -> io::Result<()> {
    let mut missing = Vec::new();
    let mut at = dir;
    while !at.is_dir() {
        missing.push(at);
        match at.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => at = parent,
            _ => break,
        }
    }
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir)?;
    // The folder's own name too when it was there: who made it may have been killed
    // before it was durable.
    for made in missing.into_iter().chain([dir]) {
        sync_name(made)?;
    }
    Ok(())
}

/// Makes the name of a file or folder durable.
///
/// # Errors
/// When the folder that it lies in cannot be synced.
pub fn sync_name(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync_folder(parent),
        Some(_) => sync_folder(Path::new(".")),
        None => Ok(()),
    }
}

/// Makes the names in `dir` durable.
///
/// # Errors
/// When it cannot be synced.
pub fn sync_folder(dir: &Path) -> io::Result<()> {
    match File::open(dir).and_then(|folder| folder.sync_all()) {
        // A folder above ours that we may pass through and not read.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        synced => synced,
    }
}

/// Makes the names in `dir` and in every folder below it durable.
///
/// # Errors
/// When one cannot be read or synced.
pub fn sync_folders(dir: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_folders(&entry.path())?;
        }
    }
    sync_folder(dir)
}

/// Writes a file so that after a power loss it is whole or as before, and durable on
/// return. `is_private`: only its owner can read it.
///
/// # Errors
/// When it cannot be written; then it is as before.
pub fn write_file(path: &Path, bytes: &[u8], is_private: bool) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".draft");
    let beside = Path::new(&beside);
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    let mode = if is_private { 0o600 } else { 0o644 };
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    // One that a power loss left may have other rights.
    match std::fs::remove_file(beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = options.open(beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(beside, path)?;
    sync_name(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_folders_are_for_their_owner() {
        use std::os::unix::fs::PermissionsExt as _;
        let place = std::env::temp_dir().join(format!("holdfast-disk-{}", std::process::id()));
        let dir = place.join("a").join("b");
        make_folder(&dir).expect("makes");
        make_folder(&dir).expect("is there");
        let path = dir.join("file");
        std::fs::write(dir.join("file.draft"), b"left by a power loss").expect("writes");
        for (bytes, is_private, mode) in [(&b"one"[..], true, 0o600), (b"two", false, 0o644)] {
            write_file(&path, bytes, is_private).expect("writes");
            assert_eq!(std::fs::read(&path).expect("reads"), bytes);
            let found = std::fs::metadata(&path).expect("is there").permissions().mode();
            assert_eq!(found & 0o777 & mode, found & 0o777);
        }
        assert_eq!(std::fs::read_dir(&dir).expect("reads").count(), 1, "no draft is left");
        let found = std::fs::metadata(&dir).expect("is there").permissions().mode();
        assert_eq!(found & 0o777, 0o700);
        sync_folders(&place).expect("syncs");
        std::fs::remove_dir_all(&place).expect("removes");
    }
}
