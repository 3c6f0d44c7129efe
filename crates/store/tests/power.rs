//! Power loss at any moment, below the engine: a writer is recorded by its system
//! calls, its folder rebuilt as a power loss would leave it, and opened.
#![allow(clippy::unwrap_used)]

mod common;

use std::io::{BufRead, BufReader, Lines, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use common::{open, payload, put, resource, row, sealed};
use holdfast_base::{CommitNumber, MessageId};
use holdfast_store::{ResourceKey, SealedVersion, Store, Table, Transaction};
use holdfast_testkit_power::{Data, Dice, Disk, Image, Loss, Names, Replay, Step, record};

const WRITERS: u8 = 3;
/// Moments at which the power goes, unless `POWER_POINTS` says how many.
const POINTS: usize = 150;

fn points() -> usize {
    std::env::var("POWER_POINTS")
        .map_or(POINTS, |points| points.parse().expect("POWER_POINTS is a number"))
}

fn key(token: u8) -> ResourceKey {
    resource(1, token, 1, token)
}

/// Now and then so large that the engine flushes its tables.
fn version(number: u64) -> SealedVersion {
    sealed(number, number as u8, if number % 25 == 12 { 1 << 21 } else { 4000 })
}

/// What a store has, as one line of numbers: newest commit, newest version of each
/// writer, messages.
type Held = [u64; 2 + WRITERS as usize];

fn held(store: &Store) -> Held {
    let snapshot = store.snapshot();
    let mut held = [0; 2 + WRITERS as usize];
    held[0] = snapshot.commit().0;
    for token in 0..WRITERS {
        let newest = snapshot.current_index(&key(token)).unwrap();
        held[1 + usize::from(token)] = newest.map_or(0, |row| row.version);
    }
    held[1 + usize::from(WRITERS)] = snapshot.kept_range(MessageId(0)).count() as u64;
    held
}

fn line_of(word: &str, held: &Held) -> String {
    let numbers: Vec<_> = held.iter().map(u64::to_string).collect();
    format!("\n{word} {}\n", numbers.join(" "))
}

fn read_line(word: &str, line: &str) -> Option<Held> {
    let rest = line.strip_prefix(word)?.strip_prefix(' ')?;
    let numbers: Vec<u64> = rest.split(' ').map(|number| number.parse().unwrap()).collect();
    numbers.try_into().ok()
}

/// Says what the folder's store shows, then writes and says what is durable.
#[test]
#[ignore = "runs as a child of the tests of power loss"]
fn child_writes_under_the_recorder() {
    let mut lines = std::io::stdin().lines();
    let Some(Ok(dir)) = lines.next() else { return };
    let versions_count: u64 = lines.next().unwrap().unwrap().parse().unwrap();
    let store = open(Path::new(&dir));
    let say = |line: &str| {
        // In one call, so that it is one line of the recording.
        let mut out = std::io::stdout().lock();
        out.write_all(line.as_bytes()).unwrap();
        out.flush().unwrap();
    };
    let shown = held(&store);
    // What is shown is acted on: it has to stay.
    say(line_of("shown", &shown).trim_start());
    std::thread::scope(|scope| {
        for token in 0..WRITERS {
            let (store, say) = (&store, &say);
            let from = shown[1 + usize::from(token)] + 1;
            scope.spawn(move || {
                for number in from..from + versions_count {
                    let transaction = Transaction {
                        rows: vec![row(Table::Link, &[token], Some(&number.to_be_bytes()))],
                        ..put(key(token), version(number))
                    };
                    let mut said = Held::default();
                    said[0] = store.commit(transaction).unwrap().commit.0;
                    said[1 + usize::from(token)] = number;
                    if number % 5 == 2 {
                        let message = store.keep(&payload(token, 3000)).unwrap();
                        said[1 + usize::from(WRITERS)] = message.0;
                    }
                    say(line_of("said", &said).trim_start());
                }
            });
        }
    });
}

/// Opens each folder that is named on its standard input, looks at everything in it
/// and says what it has. The engine may abort this process.
#[test]
#[ignore = "runs as a child of the tests of power loss"]
fn child_opens_what_is_left() {
    for dir in std::io::stdin().lines() {
        let store = match Store::open(Path::new(&dir.unwrap())) {
            Ok(store) => store,
            Err(error) => {
                let why = std::error::Error::source(&error).map(ToString::to_string);
                println!("\nrefused {error}: {}", why.unwrap_or_default());
                continue;
            }
        };
        if let Err(error) = store.check() {
            println!("\nnamed {error}");
            continue;
        }
        let (found, snapshot) = (held(&store), store.snapshot());
        for token in 0..WRITERS {
            let history = snapshot.history(&key(token)).unwrap();
            let newest = found[1 + usize::from(token)];
            assert_eq!(history.len() as u64, newest);
            for (stored, number) in history.iter().zip((1..=newest).rev()) {
                assert!(stored.sealed == version(number));
            }
            let counter = snapshot.row(Table::Link, &[token]).unwrap();
            assert_eq!(counter, (newest > 0).then(|| newest.to_be_bytes().to_vec()));
        }
        // And it goes on.
        store.keep(&payload(9, 9)).unwrap();
        assert_eq!(store.last_commit().0, CommitNumber(found[0] + 1));
        println!("{}", line_of("whole", &found).trim_end());
    }
}

/// What became of a folder.
#[derive(Debug)]
enum Found {
    Whole(Held),
    /// Refused, or named by a check.
    Named(String),
    /// The engine ended the process.
    Aborted,
}

/// Opens folders in a process of its own.
#[derive(Default)]
struct Opener(Option<(Child, Lines<BufReader<ChildStdout>>)>);

impl Opener {
    fn open(&mut self, dir: &Path) -> Found {
        let (child, lines) = self.0.get_or_insert_with(|| {
            let mut child = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "child_opens_what_is_left", "--ignored", "--nocapture"])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let lines = BufReader::new(child.stdout.take().unwrap()).lines();
            (child, lines)
        });
        writeln!(child.stdin.as_mut().unwrap(), "{}", dir.display()).unwrap();
        for line in lines.by_ref() {
            let line = line.unwrap();
            if let Some(held) = read_line("whole", &line) {
                return Found::Whole(held);
            }
            if line.starts_with("refused ") || line.starts_with("named ") {
                return Found::Named(line);
            }
        }
        let (mut child, _) = self.0.take().unwrap();
        let status = child.wait().unwrap();
        // A comparison that fails ends the child with a code.
        assert!(status.code().is_none(), "{} has other bytes", dir.display());
        Found::Aborted
    }
}

impl Drop for Opener {
    fn drop(&mut self) {
        if let Some((mut child, _)) = self.0.take() {
            drop(child.stdin.take());
            child.wait().unwrap();
        }
    }
}

/// A place in memory where there is one: folders are written and removed quickly.
fn in_memory() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let dir = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    dir.unwrap()
}

/// Records one life of a writer.
fn record(dir: &Path, trace: &Path, versions_count: u64, injections: &[&str]) {
    let mut child = record::under_strace(&std::env::current_exe().unwrap(), trace, injections)
        .args(["--exact", "child_writes_under_the_recorder", "--ignored", "--nocapture"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    write!(child.stdin.take().unwrap(), "{}\n{versions_count}\n", dir.display()).unwrap();
    let status = child.wait().unwrap();
    assert_eq!(status.success(), injections.is_empty(), "{status}");
}

/// What was said to be durable, taken together.
fn take(said: &mut Held, text: &[u8]) -> bool {
    let text = String::from_utf8_lossy(text);
    let mut took = false;
    let read = |line| read_line("said", line).or_else(|| read_line("shown", line));
    for held in text.lines().filter_map(read) {
        took = true;
        for (all, new) in said.iter_mut().zip(held) {
            *all = new.max(*all);
        }
    }
    took
}

/// How the lives of a store end: it is made; opened; then killed twice before a sync,
/// so that the next life finds what is not durable yet; and once more in good order.
/// A kill comes so many syncs of one thread later than an opening needs.
const LIVES: [Option<usize>; 5] = [None, None, Some(5), Some(9), None];

/// How often a recording asked for a file to be synced.
fn syncs_count(trace: &Path) -> usize {
    let lines = BufReader::new(std::fs::File::open(trace).unwrap()).lines();
    lines.filter(|line| line.as_ref().unwrap().contains(" fsync(")).count()
}

/// The lives of a store, as told by their recordings. `each` is told of every step
/// with what was said by then. Gives the disk at the end.
fn live(versions_count: u64, mut each: impl FnMut(&Step, &Disk, &Held, usize)) -> Disk {
    let (dir, traces) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let root = dir.path().join("data");
    std::fs::create_dir(&root).unwrap();
    let store = root.join("store");
    let mut disk = Disk::of_folder(&root);
    let mut said = Held::default();
    let mut opening = 0;
    for (number, killed) in LIVES.into_iter().enumerate() {
        let trace = traces.path().join("trace");
        let versions_count = if number < 2 { 0 } else { versions_count };
        let injection =
            killed.map(|later| format!("fsync:signal=SIGKILL:when={}", opening + later));
        record(&store, &trace, versions_count, injection.as_deref().as_slice());
        opening = opening.max(if number == 1 { syncs_count(&trace) } else { 0 });
        let mut replay = Replay::new(&trace, &root, disk);
        let steps_count = replay.steps_count();
        while let Some(step) = replay.step() {
            if let Step::Said(text) = &step
                && !take(&mut said, text)
            {
                continue;
            }
            each(&step, replay.disk(), &said, steps_count);
        }
        disk = replay.into_disk();
        let differs = disk.differs_from(&root);
        assert!(differs.is_empty(), "life {number}: the recording missed {differs:?}");
    }
    let newest = said[1..=usize::from(WRITERS)].iter().min().unwrap();
    assert!(*newest >= versions_count, "{said:?}");
    disk
}

/// A disk that lies about syncs: what the engine wrote is as of an earlier moment,
/// the rest of the folder as of now.
#[test]
fn p14_a_disk_that_loses_what_it_had_synced_is_refused_by_name() {
    if !record::is_possible() {
        return;
    }
    let (mut opener, mut dice) = (Opener::default(), Dice::new(0x1932_2015));
    let (place, everything) = (in_memory(), Loss { names: Names::All, data: Data::All });
    let mut before: Option<Image> = None;
    let (mut refused_count, mut said_anything) = (0, false);
    live(60, |step, disk, said, steps_count| {
        said_anything |= matches!(step, Step::Said(_));
        if !said_anything || dice.below(steps_count / 10) != 0 {
            return;
        }
        let now = || disk.after(everything, &mut Dice::new(0));
        if let Some(earlier) = before.replace(now()) {
            let dir = written(&now().with_part_of(earlier, "store/engine"), &place);
            match opener.open(&dir) {
                Found::Whole(held) => assert!(held.iter().zip(said).all(|(h, s)| h >= s)),
                Found::Named(why) => {
                    assert!(why.starts_with("refused "), "{why}");
                    refused_count += u32::from(why.contains("acknowledged"));
                }
                Found::Aborted => {}
            }
            std::fs::remove_dir_all(dir.parent().unwrap()).unwrap();
        }
    });
    println!("{refused_count} refused because acknowledged commits are gone");
    assert!(refused_count > 3, "{refused_count}");
}

fn written(image: &Image, place: &tempfile::TempDir) -> std::path::PathBuf {
    let dir = place.path().join("left");
    image.write(&dir);
    dir.join("store")
}

#[test]
fn p14_a_power_loss_at_any_moment_takes_nothing_that_was_acknowledged_or_shown() {
    if !record::is_possible() {
        return;
    }
    let (mut opener, mut dice) = (Opener::default(), Dice::new(0x5707_2015));
    let place = in_memory();
    let (mut counts, mut lost_count) = (std::collections::BTreeMap::new(), 0);
    let (mut failed, mut said_anything) = (Vec::new(), false);
    let disk = live(70, |step, disk, said, steps_count| {
        // Before the store said anything, it need not be one.
        if matches!(step, Step::Said(_)) {
            said_anything = true;
        }
        if !said_anything {
            return;
        }
        let chosen = dice.below(steps_count * 3 / points().max(1)) == 0;
        // What was just said must be durable, whatever else is lost.
        let just_said = match step {
            Step::Said(text) => text.starts_with(b"shown") || dice.below(4) == 0,
            _ => false,
        };
        let losses = Loss::all();
        let loss = match (chosen, just_said) {
            (true, _) => losses[dice.below(losses.len())],
            (_, true) => Loss { names: Names::Synced, data: Data::Synced },
            _ => return,
        };
        let dir = written(&disk.after(loss, &mut dice), &place);
        let found = opener.open(&dir);
        let word = match &found {
            Found::Whole(held) if held.iter().zip(said).all(|(held, said)| held >= said) => "whole",
            Found::Whole(_) => "lost without a word",
            Found::Named(why) if why.starts_with("refused ") => "refused",
            Found::Named(_) => "named",
            Found::Aborted => "aborted",
        };
        *counts.entry((format!("{:?}", loss.names), word)).or_insert(0) += 1;
        lost_count += u32::from(disk.has_pending());
        // The engine does not sync the folder of its blob files: where not even the
        // name of a synced file is kept it finds that, and does not open.
        let may_refuse = loss.names == Names::Synced && word == "refused";
        if word != "whole" && !may_refuse {
            failed.push(format!("{loss:?}: {found:?}, said {said:?}"));
        }
        std::fs::remove_dir_all(dir.parent().unwrap()).unwrap();
    });
    let image = disk.after(Loss { names: Names::All, data: Data::All }, &mut Dice::new(0));
    for name in ["blobs", "tables"] {
        assert!(image.has_files_in(name), "nothing was flushed into {name}");
    }
    println!("power losses: {counts:?}, {lost_count} with something to lose");
    assert!(failed.is_empty(), "{failed:#?}");
    assert!(lost_count > 30, "{lost_count}");
}
