//! A folder as the file system holds it: what is durable, and what is not yet.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::image::{Image, Loss, Names, contents};
use crate::pages::Pages;
use crate::{Data, Dice};

/// Place of a file or folder in [`Disk::inodes`].
pub(crate) type Inode = usize;

/// What was asked of a file since it was synced.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    Write { at: u64, bytes: Arc<[u8]> },
    Length(u64),
}

#[derive(Debug, Clone)]
pub(crate) struct File {
    /// As of the last sync.
    pub(crate) synced: Pages,
    pub(crate) pending: Vec<Change>,
    /// With everything that is pending.
    pub(crate) length: u64,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Folder {
    pub(crate) synced: BTreeMap<String, Inode>,
    pub(crate) live: BTreeMap<String, Inode>,
}

#[derive(Debug, Clone)]
pub(crate) enum Node {
    File(File),
    Folder(Folder),
}

/// A change of names. Renaming is one: it is there or not.
#[derive(Debug, Clone)]
pub(crate) struct NameChange {
    pub(crate) removed: Option<(Inode, String)>,
    pub(crate) added: Option<(Inode, String, Inode)>,
    /// Whether the file that it names was synced since.
    pub(crate) is_of_synced: bool,
}

impl NameChange {
    fn touches(&self, folder: Inode) -> bool {
        self.removed.as_ref().is_some_and(|(of, _)| *of == folder)
            || self.added.as_ref().is_some_and(|(of, _, _)| *of == folder)
    }
}

/// A folder and everything below it.
#[derive(Debug, Clone)]
pub struct Disk {
    pub(crate) inodes: Vec<(u32, Node)>,
    pub(crate) names: Vec<NameChange>,
}

/// The folder itself.
pub(crate) const ROOT: Inode = 0;

impl Disk {
    /// As `dir` is now, all of it durable.
    ///
    /// # Panics
    /// When it cannot be read.
    pub fn of_folder(dir: &Path) -> Self {
        let mut disk = Self { inodes: Vec::new(), names: Vec::new() };
        disk.load(dir);
        disk
    }

    fn load(&mut self, path: &Path) -> Option<Inode> {
        let about = std::fs::symlink_metadata(path).expect("the folder is read");
        let (mode, inode) = (about.permissions().mode() & 0o7777, self.inodes.len());
        if about.is_dir() {
            self.inodes.push((mode, Node::Folder(Folder::default())));
            let mut found = BTreeMap::new();
            for entry in std::fs::read_dir(path).expect("the folder is read") {
                let entry = entry.expect("the folder is read");
                if let Some(below) = self.load(&entry.path()) {
                    found.insert(entry.file_name().into_string().expect("a name"), below);
                }
            }
            let folder = Folder { synced: found.clone(), live: found };
            self.inodes[inode].1 = Node::Folder(folder);
        } else if about.is_file() {
            let synced = Pages::of(&std::fs::read(path).expect("the folder is read"));
            let length = synced.length();
            let file = File { synced, pending: Vec::new(), length };
            self.inodes.push((mode, Node::File(file)));
        } else {
            // A socket: it means nothing after a power loss.
            return None;
        }
        Some(inode)
    }

    pub(crate) fn file(&mut self, inode: Inode) -> &mut File {
        match &mut self.inodes[inode].1 {
            Node::File(file) => file,
            Node::Folder(_) => panic!("bytes of a folder were written"),
        }
    }

    pub(crate) fn folder(&mut self, inode: Inode) -> &mut Folder {
        match &mut self.inodes[inode].1 {
            Node::Folder(folder) => folder,
            Node::File(_) => panic!("a file was taken for a folder"),
        }
    }

    /// What a name in a folder stands for now.
    pub(crate) fn find(&self, folder: Inode, name: &str) -> Option<Inode> {
        match &self.inodes[folder].1 {
            Node::Folder(folder) => folder.live.get(name).copied(),
            Node::File(_) => None,
        }
    }

    pub(crate) fn make(&mut self, folder: Inode, name: &str, mode: u32, is_folder: bool) -> Inode {
        let node = if is_folder {
            Node::Folder(Folder::default())
        } else {
            Node::File(File { synced: Pages::default(), pending: Vec::new(), length: 0 })
        };
        self.inodes.push((mode, node));
        let inode = self.inodes.len() - 1;
        self.link(folder, name, inode);
        inode
    }

    pub(crate) fn link(&mut self, folder: Inode, name: &str, inode: Inode) {
        self.folder(folder).live.insert(name.to_owned(), inode);
        let added = Some((folder, name.to_owned(), inode));
        self.names.push(NameChange { removed: None, added, is_of_synced: false });
    }

    pub(crate) fn unlink(&mut self, folder: Inode, name: &str) {
        if self.folder(folder).live.remove(name).is_some() {
            let removed = Some((folder, name.to_owned()));
            self.names.push(NameChange { removed, added: None, is_of_synced: false });
        }
    }

    pub(crate) fn rename(&mut self, from: (Inode, &str), to: (Inode, &str)) {
        let inode = self.folder(from.0).live.remove(from.1).expect("what is renamed is there");
        self.folder(to.0).live.insert(to.1.to_owned(), inode);
        let (removed, added) = ((from.0, from.1.to_owned()), (to.0, to.1.to_owned(), inode));
        let (removed, added) = (Some(removed), Some(added));
        self.names.push(NameChange { removed, added, is_of_synced: false });
    }

    pub(crate) fn write(&mut self, inode: Inode, at: u64, bytes: Vec<u8>) {
        let file = self.file(inode);
        file.length = file.length.max(at + bytes.len() as u64);
        file.pending.push(Change::Write { at, bytes: bytes.into() });
    }

    pub(crate) fn set_length(&mut self, inode: Inode, length: u64) {
        let file = self.file(inode);
        file.length = length;
        file.pending.push(Change::Length(length));
    }

    /// After `fsync` of a file or folder: bytes of the file, names in the folder.
    pub(crate) fn sync(&mut self, inode: Inode) {
        match &mut self.inodes[inode].1 {
            Node::File(file) => {
                for change in std::mem::take(&mut file.pending) {
                    change.apply(&mut file.synced);
                }
                // What a file system with a journal keeps with it: its name, and those
                // of the folders on the way, which were made before.
                let ours = |change: &NameChange| {
                    change.added.as_ref().is_some_and(|(_, _, of)| *of == inode)
                };
                if let Some(last) = self.names.iter().rposition(ours) {
                    self.names[..=last].iter_mut().for_each(|change| change.is_of_synced = true);
                }
            }
            Node::Folder(_) => {
                let all = std::mem::take(&mut self.names);
                let (now, later) = all.into_iter().partition(|change| change.touches(inode));
                self.names = later;
                self.keep_names(now);
            }
        }
    }

    /// After `syncfs`.
    pub(crate) fn sync_everything(&mut self) {
        for inode in 0..self.inodes.len() {
            self.sync(inode);
        }
    }

    fn keep_names(&mut self, changes: Vec<NameChange>) {
        for change in changes {
            if let Some((folder, name)) = change.removed {
                self.folder(folder).synced.remove(&name);
            }
            if let Some((folder, name, inode)) = change.added {
                self.folder(folder).synced.insert(name, inode);
            }
        }
    }

    /// Whether anything is not durable yet.
    pub fn has_pending(&self) -> bool {
        let waits = |node: &Node| matches!(node, Node::File(file) if !file.pending.is_empty());
        !self.names.is_empty() || self.inodes.iter().any(|(_, node)| waits(node))
    }

    /// What a power loss now leaves.
    pub fn after(&self, loss: Loss, dice: &mut Dice) -> Image {
        let mut disk = self.clone();
        let with_files =
            disk.names.iter().rposition(|change| change.is_of_synced).map_or(0, |last| last + 1);
        let kept = match loss.names {
            Names::Synced => 0,
            Names::WithFiles => with_files,
            Names::Some => with_files + dice.below(disk.names.len() - with_files + 1),
            Names::All => disk.names.len(),
        };
        let kept: Vec<_> = disk.names.drain(..kept).collect();
        disk.keep_names(kept);
        let mut image = Image::default();
        disk.collect(ROOT, Path::new(""), loss.data, dice, &mut image);
        image
    }

    fn collect(&self, inode: Inode, path: &Path, data: Data, dice: &mut Dice, image: &mut Image) {
        let (mode, node) = &self.inodes[inode];
        match node {
            Node::File(file) => {
                image.files.push((path.to_owned(), *mode, contents(file, data, dice)));
            }
            Node::Folder(folder) => {
                image.folders.push((path.to_owned(), *mode));
                for (name, below) in &folder.synced {
                    self.collect(*below, &path.join(name), data, dice, image);
                }
            }
        }
    }

    /// Files of `dir` that are other than the recording says, were nothing lost.
    ///
    /// # Panics
    /// When they cannot be read.
    pub fn differs_from(&self, dir: &Path) -> Vec<PathBuf> {
        let image = self.after(Loss { names: Names::All, data: Data::All }, &mut Dice::new(0));
        let there = Self::of_folder(dir);
        let there = there.after(Loss { names: Names::All, data: Data::All }, &mut Dice::new(0));
        let mut differs = Vec::new();
        let known: BTreeMap<_, _> = image.files.iter().map(|(path, _, of)| (path, of)).collect();
        let found: BTreeMap<_, _> = there.files.iter().map(|(path, _, of)| (path, of)).collect();
        for (path, pages) in &known {
            if !found.get(path).is_some_and(|found| found.reads_as(pages)) {
                differs.push((*path).clone());
            }
        }
        differs
            .extend(found.keys().filter(|path| !known.contains_key(*path)).map(|p| (*p).clone()));
        differs
    }
}

impl Change {
    pub(crate) fn apply(&self, pages: &mut Pages) {
        match self {
            Self::Write { at, bytes } => pages.write(*at, bytes),
            Self::Length(length) => pages.set_length(*length),
        }
    }
}
