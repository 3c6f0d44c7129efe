//! Follows a recording: whose descriptor is which file, and what happens to it.

use std::collections::HashMap;
use std::fs::File;
use std::io::BufReader;
use std::path::{Component, Path, PathBuf};

use crate::disk::{Disk, Inode, Node, ROOT};
use crate::trace::{Call, Line, Reader, string, strings};

/// What a line of the recording did.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Something is there that a power loss may take.
    Changed,
    /// Something is durable now.
    Synced,
    /// The process wrote this to its standard output.
    Said(Vec<u8>),
}

/// An open file; several descriptors may share it.
#[derive(Debug, Clone)]
struct Open {
    inode: Inode,
    at: u64,
    appends: bool,
}

#[derive(Debug, Clone, Copy)]
struct Descriptor {
    open: usize,
    closes_on_exec: bool,
}

/// Reads a recording into a [`Disk`].
pub struct Replay {
    root: PathBuf,
    disk: Disk,
    reader: Reader,
    input: BufReader<File>,
    /// Thread → its process; process → who made it.
    processes: HashMap<u32, u32>,
    makers: HashMap<u32, u32>,
    descriptors: HashMap<u32, HashMap<u32, Descriptor>>,
    opens: Vec<Open>,
    at: u64,
    changes_count: usize,
}

impl Replay {
    /// Reads the recording `trace` of what happened below `root` to `disk`.
    ///
    /// # Panics
    /// When there is no recording.
    pub fn new(trace: &Path, root: &Path, disk: Disk) -> Self {
        let open = || BufReader::new(File::open(trace).expect("the recording"));
        let (processes, makers, changes_count) = processes(&mut open());
        Self {
            root: root.to_owned(),
            disk,
            reader: Reader::default(),
            input: open(),
            processes,
            makers,
            descriptors: HashMap::new(),
            opens: Vec::new(),
            at: 0,
            changes_count,
        }
    }

    /// Goes on to the next line that did something; `None` at the end.
    ///
    /// # Panics
    /// At what it cannot follow.
    pub fn step(&mut self) -> Option<Step> {
        while let Some(line) = self.reader.next(&mut self.input) {
            let step = match line {
                // Its number may be given out before strace says that it is done.
                Line::Began(call) if call.name == "close" => self.close(&call),
                Line::Began(_) => None,
                Line::Done(call) => {
                    self.at = call.ends;
                    self.done(&call)
                }
            };
            if step.is_some() {
                return step;
            }
        }
        None
    }

    /// Where the line of the last step ends in the recording.
    pub fn at(&self) -> u64 {
        self.at
    }

    /// About how many steps there are in all.
    pub fn steps_count(&self) -> usize {
        self.changes_count
    }

    /// The folder after the last step.
    pub fn disk(&self) -> &Disk {
        &self.disk
    }

    /// The folder, to go on with another recording: every process has ended.
    pub fn into_disk(self) -> Disk {
        self.disk
    }

    fn done(&mut self, call: &Call) -> Option<Step> {
        let argument = |number: usize| call.arguments.get(number).map_or("", String::as_str);
        let fd = |number: usize| argument(number).parse::<u32>().ok();
        match call.name.as_str() {
            "close" => return self.close(call),
            "write" | "pwrite64" | "writev" | "pwritev" | "pwritev2" => return self.write(call),
            _ => {}
        }
        // What failed changed nothing.
        let result = call.result?;
        match call.name.as_str() {
            "openat" => self.open(call, argument(0), argument(1), argument(2), argument(3)),
            "open" => self.open(call, "AT_FDCWD", argument(0), argument(1), argument(2)),
            "creat" => self.open(call, "AT_FDCWD", argument(0), "O_CREAT|O_TRUNC", argument(1)),
            "dup" | "dup2" | "dup3" => self.copy(call, fd(0)?, result, argument(2)),
            "fcntl" if argument(1).starts_with("F_DUPFD") => {
                self.copy(call, fd(0)?, result, argument(1))
            }
            "execve" => {
                let process = self.process(call.thread);
                self.table(process).retain(|_, descriptor| !descriptor.closes_on_exec);
                None
            }
            "lseek" => {
                if let Some(open) = self.opened(call, fd(0)?) {
                    self.opens[open].at = result as u64;
                }
                None
            }
            "ftruncate" => {
                let open = self.opened(call, fd(0)?)?;
                let length = argument(1).parse().expect("a length");
                self.disk.set_length(self.opens[open].inode, length);
                Some(Step::Changed)
            }
            "fsync" | "fdatasync" => {
                let open = self.opened(call, fd(0)?)?;
                self.disk.sync(self.opens[open].inode);
                Some(Step::Synced)
            }
            "syncfs" => {
                self.opened(call, fd(0)?)?;
                self.disk.sync_everything();
                Some(Step::Synced)
            }
            "sync" => {
                self.disk.sync_everything();
                Some(Step::Synced)
            }
            "rename" => self.rename(call, ("AT_FDCWD", argument(0)), ("AT_FDCWD", argument(1))),
            "renameat" | "renameat2" => {
                self.rename(call, (argument(0), argument(1)), (argument(2), argument(3)))
            }
            "unlink" | "rmdir" => self.unlink(call, "AT_FDCWD", argument(0)),
            "unlinkat" => self.unlink(call, argument(0), argument(1)),
            "mkdir" => self.make_folder(call, "AT_FDCWD", argument(0), argument(1)),
            "mkdirat" => self.make_folder(call, argument(0), argument(1), argument(2)),
            "mmap" => {
                let shared = argument(3).contains("MAP_SHARED");
                if shared && argument(2).contains("PROT_WRITE") {
                    let open = fd(4).and_then(|fd| self.opened(call, fd));
                    assert!(open.is_none(), "a file is written through memory: {call:?}");
                }
                None
            }
            "fallocate" | "copy_file_range" | "sendfile" | "splice" => {
                let into =
                    if call.name == "splice" || call.name == "copy_file_range" { 2 } else { 0 };
                let open = fd(into).and_then(|fd| self.opened(call, fd));
                assert!(open.is_none(), "a recording cannot follow {}", call.name);
                None
            }
            "truncate" | "link" | "linkat" | "symlink" | "symlinkat" | "io_uring_setup"
            | "openat2" | "close_range" => {
                let strings = call.arguments.iter().filter(|text| text.starts_with('"'));
                let ours = strings.map(|text| string(text)).any(|path| {
                    Path::new(&String::from_utf8_lossy(&path).into_owned()).starts_with(&self.root)
                });
                assert!(!ours && call.name != "io_uring_setup", "cannot follow {}", call.name);
                None
            }
            _ => None,
        }
    }

    fn process(&self, thread: u32) -> u32 {
        self.processes.get(&thread).copied().unwrap_or(thread)
    }

    /// The descriptors of a process; at first those of who made it.
    fn table(&mut self, process: u32) -> &mut HashMap<u32, Descriptor> {
        if !self.descriptors.contains_key(&process) {
            let maker = self.makers.get(&process).map(|maker| self.process(*maker));
            let copied = maker.and_then(|maker| self.descriptors.get(&maker).cloned());
            self.descriptors.insert(process, copied.unwrap_or_default());
        }
        self.descriptors.entry(process).or_default()
    }

    /// What a descriptor stands for, if it is ours.
    fn opened(&mut self, call: &Call, fd: u32) -> Option<usize> {
        let process = self.process(call.thread);
        self.table(process).get(&fd).map(|descriptor| descriptor.open)
    }

    fn close(&mut self, call: &Call) -> Option<Step> {
        let fd = call.arguments.first()?.parse().ok()?;
        let process = self.process(call.thread);
        self.table(process).remove(&fd);
        None
    }

    fn copy(&mut self, call: &Call, from: u32, to: i64, flags: &str) -> Option<Step> {
        let process = self.process(call.thread);
        let open = self.opened(call, from);
        let table = self.table(process);
        table.remove(&(to as u32));
        if let Some(open) = open {
            let descriptor = Descriptor { open, closes_on_exec: flags.contains("CLOEXEC") };
            table.insert(to as u32, descriptor);
        }
        None
    }

    /// The folder and the last name of a path, if it lies below the root; the name is
    /// empty for the root itself.
    fn place(&mut self, call: &Call, at: &str, path: &str) -> Option<(Inode, String)> {
        let path = String::from_utf8(string(path)).ok()?;
        let path = Path::new(&path);
        let (mut folder, rest) = if path.is_absolute() {
            (ROOT, path.strip_prefix(&self.root).ok()?.to_owned())
        } else {
            // Relative to the folder that the process runs in: not ours.
            let open = self.opened(call, at.parse().ok()?)?;
            (self.opens[open].inode, path.to_owned())
        };
        let mut names = rest.components().filter_map(|component| match component {
            Component::Normal(name) => Some(name.to_str().expect("a name").to_owned()),
            Component::CurDir => None,
            other => panic!("cannot follow {other:?}"),
        });
        let mut last = names.next().unwrap_or_default();
        for name in names {
            folder = self.disk.find(folder, &last)?;
            last = name;
        }
        Some((folder, last))
    }

    fn open(&mut self, call: &Call, at: &str, path: &str, flags: &str, mode: &str) -> Option<Step> {
        let fd = call.result? as u32;
        let process = self.process(call.thread);
        // Whatever had the number before is closed, seen or not.
        self.table(process).remove(&fd);
        let (folder, name) = self.place(call, at, path)?;
        let mut step = None;
        let found = if name.is_empty() { Some(folder) } else { self.disk.find(folder, &name) };
        let inode = match found {
            Some(inode) => inode,
            None if flags.contains("O_CREAT") => {
                step = Some(Step::Changed);
                let mode = u32::from_str_radix(mode.trim_start_matches('0'), 8).unwrap_or(0o600);
                self.disk.make(folder, &name, mode & 0o7755, false)
            }
            // A socket or the like.
            None => return None,
        };
        if flags.contains("O_TRUNC") && found.is_some() {
            self.disk.set_length(inode, 0);
            step = Some(Step::Changed);
        }
        assert!(!flags.contains("SYNC"), "cannot follow {flags}");
        let appends = flags.contains("O_APPEND");
        self.opens.push(Open { inode, at: 0, appends });
        let closes_on_exec = flags.contains("O_CLOEXEC");
        let descriptor = Descriptor { open: self.opens.len() - 1, closes_on_exec };
        self.table(process).insert(fd, descriptor);
        step
    }

    fn write(&mut self, call: &Call) -> Option<Step> {
        let fd = call.arguments.first()?.parse().ok()?;
        let written = call.result? as usize;
        let Some(open) = self.opened(call, fd) else {
            let said = fd == 1 && call.name == "write";
            return said.then(|| Step::Said(string(&call.arguments[1])));
        };
        let vectored = call.name.contains("writev");
        let mut bytes =
            if vectored { strings(&call.arguments[1]) } else { string(&call.arguments[1]) };
        bytes.truncate(written);
        let inode = self.opens[open].inode;
        let place = match call.name.as_str() {
            "write" | "writev" => None,
            // Behind the bytes and their number; -1 is the file's own place.
            _ => call.arguments[3].parse::<u64>().ok(),
        };
        let at = match place {
            Some(at) => at,
            None if self.opens[open].appends => self.disk.file(inode).length,
            None => self.opens[open].at,
        };
        if place.is_none() {
            self.opens[open].at = at + bytes.len() as u64;
        }
        self.disk.write(inode, at, bytes);
        Some(Step::Changed)
    }

    fn rename(&mut self, call: &Call, from: (&str, &str), to: (&str, &str)) -> Option<Step> {
        let from = self.place(call, from.0, from.1);
        let to = self.place(call, to.0, to.1);
        let (from, to) = match (from, to) {
            (Some(from), Some(to)) => (from, to),
            (None, None) => return None,
            _ => panic!("cannot follow a renaming over the border"),
        };
        self.disk.rename((from.0, &from.1), (to.0, &to.1));
        Some(Step::Changed)
    }

    fn unlink(&mut self, call: &Call, at: &str, path: &str) -> Option<Step> {
        let (folder, name) = self.place(call, at, path)?;
        self.disk.unlink(folder, &name);
        Some(Step::Changed)
    }

    fn make_folder(&mut self, call: &Call, at: &str, path: &str, mode: &str) -> Option<Step> {
        let (folder, name) = self.place(call, at, path)?;
        if name.is_empty() || matches!(self.disk.inodes[folder].1, Node::File(_)) {
            return None;
        }
        let mode = u32::from_str_radix(mode.trim_start_matches('0'), 8).unwrap_or(0o700);
        self.disk.make(folder, &name, mode & 0o7755, true);
        Some(Step::Changed)
    }
}

/// Calls that are steps when they concern a file of ours.
const STEPS: &[&str] = &[
    "write",
    "pwrite64",
    "writev",
    "ftruncate",
    "fsync",
    "fdatasync",
    "rename",
    "unlink",
    "mkdir",
];

/// Which thread belongs to which process, which process made which, and how many
/// steps there may be. Asked beforehand: a child may be seen before the call that
/// made it is done.
fn processes(input: &mut BufReader<File>) -> (HashMap<u32, u32>, HashMap<u32, u32>, usize) {
    let (mut threads, mut makers, mut steps_count) = (HashMap::new(), HashMap::new(), 0);
    let mut reader = Reader::default();
    while let Some(line) = reader.next(input) {
        let Line::Done(call) = line else { continue };
        if STEPS.contains(&call.name.as_str()) {
            steps_count += 1;
        }
        if !matches!(call.name.as_str(), "clone" | "clone3" | "fork" | "vfork") {
            continue;
        }
        let Some(child) = call.result.map(|child| child as u32) else { continue };
        let shares = call.arguments.iter().any(|argument| argument.contains("CLONE_THREAD"));
        if shares {
            let process = threads.get(&call.thread).copied().unwrap_or(call.thread);
            threads.insert(child, process);
        } else {
            makers.insert(child, call.thread);
        }
    }
    (threads, makers, steps_count)
}
