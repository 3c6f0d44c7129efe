//! What the ledger asks of a file system when it writes: the one seam between
//! the ledger and the disk, so that tests can let any write or sync fail, and
//! rebuild what a power loss leaves. Reading goes to the files directly.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use parking_lot::Mutex;

/// Writes. Bytes are durable after [`sync`](Self::sync) of their file, names after
/// [`sync_folder`](Self::sync_folder) of their folder, and both after
/// [`sync_everything`](Self::sync_everything).
pub(crate) trait Medium: Send + Sync {
    /// Puts `bytes` at `offset`; makes the file when there is none.
    fn write(&self, path: &Path, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Cuts the file to `length` bytes.
    fn cut(&self, path: &Path, length: u64) -> io::Result<()>;
    /// Makes the file's bytes and length durable.
    fn sync(&self, path: &Path) -> io::Result<()>;
    /// Gives a file another name; replaces what had it.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file; no error when there is none.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Removes a folder with its files; no error when there is none.
    fn remove_folder(&self, path: &Path) -> io::Result<()>;
    /// Makes a folder; no error when there is one.
    fn create_folder(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in a folder durable.
    fn sync_folder(&self, path: &Path) -> io::Result<()>;
    /// Makes every file and name below `dir` durable.
    fn sync_everything(&self, dir: &Path) -> io::Result<()>;
}

/// The file system. Holds the file open that is written to again and again.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    open: Mutex<Option<(PathBuf, File)>>,
}

impl Disk {
    fn with_file<T>(
        &self,
        path: &Path,
        work: impl FnOnce(&File) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut open = self.open.lock();
        if open.as_ref().is_none_or(|(held, _)| held != path) {
            let mut options = OpenOptions::new();
            let file = options.create(true).truncate(false).write(true).mode(0o600).open(path)?;
            *open = Some((path.to_owned(), file));
        }
        match &*open {
            Some((_, file)) => work(file),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn forget(&self, path: &Path) {
        let mut open = self.open.lock();
        if open.as_ref().is_some_and(|(held, _)| held.starts_with(path)) {
            *open = None;
        }
    }
}

impl Medium for Disk {
    fn write(&self, path: &Path, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if path.extension().is_some_and(|ending| ending == "new") {
            // Written once, then renamed: not worth keeping open.
            let mut options = OpenOptions::new();
            let options = options.create(true).truncate(true).write(true).mode(0o644);
            return options.open(path)?.write_all(bytes);
        }
        self.with_file(path, |file| file.write_all_at(bytes, offset))
    }

    fn cut(&self, path: &Path, length: u64) -> io::Result<()> {
        self.with_file(path, |file| file.set_len(length))
    }

    fn sync(&self, path: &Path) -> io::Result<()> {
        if path.extension().is_some_and(|ending| ending == "new") {
            return File::open(path)?.sync_data();
        }
        self.with_file(path, File::sync_data)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.forget(to);
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.forget(path);
        absent_is_fine(fs::remove_file(path))
    }

    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        self.forget(path);
        absent_is_fine(fs::remove_dir_all(path))
    }

    fn create_folder(&self, path: &Path) -> io::Result<()> {
        match fs::create_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            made => made,
        }
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn sync_everything(&self, dir: &Path) -> io::Result<()> {
        Ok(rustix::fs::syncfs(File::open(dir)?)?)
    }
}

fn absent_is_fine(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// The ending of a file that is not finished; it may be left by a crash and
/// means nothing.
pub(crate) const UNFINISHED: &str = ".new";
/// From so many files on, one sync of everything is quicker than one for each.
const FILES_SYNCED_SINGLY: usize = 4;

/// Puts `bytes` at `dir/path` so that after a crash the file is either whole or
/// as before: written beside it, synced, renamed, folder synced.
pub(crate) fn write_whole(
    medium: &dyn Medium,
    dir: &Path,
    path: &str,
    bytes: &[u8],
) -> io::Result<()> {
    write_all_whole(medium, dir, &[(path.to_owned(), bytes)])
}

/// As [`write_whole`] for many files, which share syncs: each of them is whole or
/// as before.
pub(crate) fn write_all_whole(
    medium: &dyn Medium,
    dir: &Path,
    files: &[(String, &[u8])],
) -> io::Result<()> {
    let mut folders: Vec<PathBuf> = Vec::new();
    for (path, bytes) in files {
        let target = dir.join(path);
        let folder = target.parent().unwrap_or(dir);
        if !folder.is_dir() {
            create_folder(medium, dir, folder)?;
        }
        if folders.last().is_none_or(|last| last != folder) {
            folders.push(folder.to_owned());
        }
        medium.write(&dir.join(format!("{path}{UNFINISHED}")), 0, bytes)?;
    }
    if files.len() > FILES_SYNCED_SINGLY {
        medium.sync_everything(dir)?;
    } else {
        for (path, _) in files {
            medium.sync(&dir.join(format!("{path}{UNFINISHED}")))?;
        }
    }
    for (path, _) in files {
        medium.rename(&dir.join(format!("{path}{UNFINISHED}")), &dir.join(path))?;
    }
    folders.sort();
    folders.dedup();
    folders.iter().try_for_each(|folder| medium.sync_folder(folder))
}

/// Makes `folder` and what lies between it and `dir`, each synced into its parent.
fn create_folder(medium: &dyn Medium, dir: &Path, folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let parent = folder.parent().unwrap_or(dir);
    if parent != dir {
        create_folder(medium, dir, parent)?;
    }
    medium.create_folder(folder)?;
    medium.sync_folder(parent)
}
