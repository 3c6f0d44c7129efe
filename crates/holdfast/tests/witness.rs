//! P07: the section "Witnesses and proofs" of the operations guide, walked through as it
//! stands there: every command of it is run from here, word for word, in a folder of
//! the reader's own, and what the section says about it is looked for.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use common::{Demo, command, copy, text, told};
use holdfast::client::Client;

const SECTION: &str = "## Witnesses and proofs";
/// Looks of 100 ms until something that must come has not come.
const LOOKS_MAX: usize = 900;

/// The guide's section, its commands, and which of them were run.
struct Guide {
    commands: BTreeSet<String>,
    walked: BTreeSet<String>,
    dir: PathBuf,
    here: PathBuf,
    token: String,
}

impl Guide {
    fn read(demo: &Demo) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/operations.md");
        let guide = fs::read_to_string(path).unwrap();
        let section = guide.split_once(SECTION).unwrap().1;
        let section = section.split("\n## ").next().unwrap();
        let spans = section.split('`').skip(1).step_by(2).map(str::trim);
        let commands = spans.chain(section.lines().map(str::trim));
        let commands = commands.filter(|text| text.starts_with("holdfast ")).map(spaced).collect();
        let here = demo.outside("here");
        fs::create_dir_all(&here).unwrap();
        Self {
            commands,
            walked: BTreeSet::new(),
            dir: demo.dir.clone(),
            here,
            token: String::new(),
        }
    }

    /// The command that the guide has as `line`, with `values` in place of its words.
    fn line(&mut self, line: &str, values: &[(&str, &str)]) -> Command {
        assert!(self.commands.contains(line), "the guide has no `{line}`: {:#?}", self.commands);
        self.walked.insert(line.to_owned());
        let value = |word: &str| {
            let word = word.trim_matches(['[', ']']);
            values
                .iter()
                .find(|(name, _)| *name == word)
                .map_or(word, |(_, value)| value)
                .to_owned()
        };
        let words: Vec<String> = line.split(' ').skip(1).map(value).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).filter(|w| !w.is_empty()).collect();
        let mut command = command(&words);
        command.current_dir(&self.here).env("HOLDFAST_DIR", &self.dir);
        command.env("HOLDFAST_TOKEN", &self.token);
        command
    }

    fn run(&mut self, line: &str, values: &[(&str, &str)]) -> Output {
        self.line(line, values).output().unwrap()
    }

    /// As [`run`](Self::run); it must succeed. Gives what it printed.
    fn walk(&mut self, line: &str, values: &[(&str, &str)]) -> String {
        let output = self.run(line, values);
        assert!(output.status.success(), "{line}: {}{}", text(&output), told(&output));
        text(&output)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.here.join(name)
    }

    fn text_of(&self, name: &str) -> String {
        fs::read_to_string(self.file(name)).unwrap()
    }
}

fn spaced(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A running witness; killed when the test is over.
struct RunningWitness {
    child: Child,
    url: String,
}

impl RunningWitness {
    fn start(guide: &mut Guide) -> Self {
        let line = "holdfast witness run --dir witness --listen 0.0.0.0:2580";
        let mut command = guide.line(line, &[("0.0.0.0:2580", "127.0.0.1:0")]);
        let said = fs::File::create(guide.file("witness.log")).unwrap();
        let mut child = command.stdout(Stdio::piped()).stderr(said).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let url = line.split_whitespace().find(|word| word.starts_with("http://")).unwrap();
        let url = url.trim_end_matches(';').to_owned();
        Self { child, url }
    }
}

impl Drop for RunningWitness {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The independent verifier; nothing where there is no Python, outside of CI.
fn python(arguments: &[&str]) -> Option<Output> {
    let tool = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tools/verify_bundle.py");
    match Command::new("python3").arg(tool).args(arguments).output() {
        Ok(output) => Some(output),
        Err(_) => {
            assert!(std::env::var("CI").is_err(), "python3 is missing in CI");
            println!("skipped: python3 is missing");
            None
        }
    }
}

fn passes(output: Option<Output>) {
    if let Some(output) = output {
        assert!(output.status.success(), "{}{}", text(&output), told(&output));
    }
}

fn fails(output: Option<Output>) {
    if let Some(output) = output {
        assert_eq!(output.status.code(), Some(1), "{}", told(&output));
        assert!(text(&output).contains("VIOLATION"), "{}", text(&output));
    }
}

/// The value of `name = "…"` in a policy, from the beginning of a line.
fn value(policy: &str, name: &str) -> String {
    let line = policy.lines().find_map(|line| line.strip_prefix(&format!("{name} = \"")));
    line.unwrap().trim_end_matches('"').to_owned()
}

fn wait_for(mut there: impl FnMut() -> bool, what: &str) {
    for _ in 0..LOOKS_MAX {
        if there() {
            return;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("{what} did not come");
}

/// How many entries a checkpoint of the demo's ledger counts; 0 when there is none.
fn size(demo: &Demo, checkpoint: &str) -> u64 {
    let path = demo.dir.join("keeper/ledger").join(checkpoint);
    let note = fs::read_to_string(path).unwrap_or_default();
    note.lines().nth(1).map_or(0, |line| line.parse().unwrap())
}

/// One registration: several entries.
fn grow(demo: &Demo, name: &str) {
    let file = demo.outside(&format!("{name}.hl7"));
    let message = format!(
        "MSH|^~\\&|A|{name}|C|D|20260101||ADT^A04^ADT_A01|{name}1|P|2.5.1\r\
         PID|1||{name}1^^^{name}^MR||{name}^Lara||19700101|F\r"
    );
    fs::write(&file, message).unwrap();
    let certificate = demo.certificates.join("hl7v2@lakeside-family.pem");
    let arguments =
        ["load", "--certificate", certificate.to_str().unwrap(), file.to_str().unwrap()];
    let loaded = demo.run(&arguments);
    assert!(text(&loaded).contains("1 accepted"), "{}{}", text(&loaded), told(&loaded));
}

#[test]
fn p07_the_guide_to_witnesses_works_as_written_and_a_rollback_or_fork_is_a_critical_alert() {
    let demo = Demo::make(4);
    let mut guide = Guide::read(&demo);

    // Step 1, on the exchange.
    let serving = demo.serve();
    let officer = demo.people().with_role("security-officer").unwrap().user.clone();
    let token = demo.run(&["token", "--user", &officer]);
    assert!(token.status.success(), "{}", told(&token));
    text(&token).trim().clone_into(&mut guide.token);
    guide.walk("holdfast ledger policy --out policy.toml", &[]);
    assert!(serving.stop());

    // Step 2, on the witness's machine.
    let made = guide.walk(
        "holdfast witness init --dir witness --name witness.example.org/w1 --log policy.toml",
        &[],
    );
    let keys = guide.walk("holdfast witness key --dir witness", &[]);
    assert!(made.ends_with(&keys), "init prints what key prints: {made} / {keys}");
    let twice = guide.run(
        "holdfast witness init --dir witness --name witness.example.org/w1 --log policy.toml",
        &[],
    );
    assert_eq!(twice.status.code(), Some(2), "keys are never replaced");
    let witness = RunningWitness::start(&mut guide);
    let busy = guide.run("holdfast witness key --dir witness", &[]);
    assert_eq!(busy.status.code(), Some(2), "{}", text(&busy));
    assert!(told(&busy).contains("running"), "{}", told(&busy));

    // Step 3: the policy that asks for the witness.
    let policy = guide.text_of("policy.toml");
    let lines = keys.split_once("\n\n").unwrap().1;
    let lines = lines.replace("http://WHERE-IT-LISTENS", &witness.url);
    let strict = format!("witnesses_required = 1\n{policy}\n{lines}");
    fs::write(guide.file("trusted.toml"), strict).unwrap();
    let trusted = guide.file("trusted.toml");
    let setting = [("HOLDFAST_LEDGER_POLICY", trusted.to_str().unwrap())];

    // Nobody has cosigned yet: the quorum is not there.
    let verify = "holdfast ledger verify DIR --policy trusted.toml";
    let data = demo.dir.to_str().unwrap().to_owned();
    let refused = guide.run(verify, &[("DIR", &data)]);
    assert_eq!(refused.status.code(), Some(1), "{}", text(&refused));
    assert!(text(&refused).contains("0 of 1 witnesses cosigned"), "{}", text(&refused));

    let before = demo.outside("before");
    copy(&demo.dir, &before);
    let serving = demo.serve_with(&setting);
    wait_for(|| size(&demo, "checkpoint.witnessed") > 0, "the cosigned checkpoint");
    let first = size(&demo, "checkpoint.witnessed");
    grow(&demo, "WITNESSED");
    wait_for(|| size(&demo, "checkpoint.witnessed") >= first + 4, "the next cosigned checkpoint");
    verified_by_outsiders(&mut guide, &demo, &policy, &data);
    ledger_and_store_agree(&guide);
    assert!(serving.stop());
    let cosigned = size(&demo, "checkpoint.witnessed");

    // The operator brings the older folder back: the witness says no, and the exchange
    // says so in its own ledger.
    fs::rename(&demo.dir, demo.outside("ahead")).unwrap();
    copy(&before, &demo.dir);
    let serving = demo.serve_with(&setting);
    let alert = |guide: &mut Guide, what: &str| {
        let list = "holdfast ledger entries --kind KIND [--patient ID]";
        let of_alerts = [("KIND", "alert"), ("--patient", ""), ("ID", "")];
        let there = |line: &str| {
            line.contains("witness.example.org/w1 contradicts the ledger")
                && line.contains(what)
                && line.contains("\"critical\"")
        };
        wait_for(|| guide.walk(list, &of_alerts).lines().any(there), what);
    };
    alert(&mut guide, "rolled back");
    assert_eq!(size(&demo, "checkpoint.witnessed"), 0, "nobody cosigned the older ledger");

    // It grows beyond what was cosigned, with another content: a fork. The witness
    // keeps the checkpoint that proves it.
    for number in 0.. {
        if size(&demo, "checkpoint") > cosigned {
            break;
        }
        grow(&demo, &format!("FORKED{number}"));
        std::thread::sleep(Duration::from_secs(1));
    }
    let kept = || fs::read_dir(guide.here.join("witness/conflicts")).map_or(0, |dir| dir.count());
    wait_for(|| kept() > 0, "the contradicting checkpoint");
    assert!(serving.stop());
    let serving = demo.serve_with(&setting);
    alert(&mut guide, "forked");
    assert!(serving.stop());
    let refused = guide.run(verify, &[("DIR", &data)]);
    assert_eq!(refused.status.code(), Some(1), "{}", text(&refused));
    let said = guide.text_of("witness.log");
    assert!(said.contains("not cosigned: the consistency proof does not verify"), "{said}");

    // A witness that is started again still remembers.
    drop(witness);
    let witness = RunningWitness::start(&mut guide);
    wait_for(|| guide.text_of("witness.log").contains("cosigned up to"), "what it remembers");
    drop(witness);

    let left: Vec<_> = guide.commands.difference(&guide.walked).collect();
    assert!(left.is_empty(), "the guide has commands that nobody has tried: {left:#?}");
}

/// The section "Reconciliation": the job runs, and the command compares.
fn ledger_and_store_agree(guide: &Guide) {
    for arguments in [&["ledger", "reconcile", "--state"][..], &["ledger", "reconcile"]] {
        let mut asked = command(arguments);
        asked.env("HOLDFAST_DIR", &guide.dir).env("HOLDFAST_TOKEN", &guide.token);
        let compared = asked.output().unwrap();
        let shown = text(&compared);
        assert!(compared.status.success(), "{shown}{}", told(&compared));
        assert!(shown.contains("no gap") && !shown.contains("never yet"), "{shown}");
    }
}

/// Step 4, the table of proofs, and what anybody may read without an account.
fn verified_by_outsiders(guide: &mut Guide, demo: &Demo, policy: &str, data: &str) {
    let verified = guide.walk("holdfast ledger verify DIR --policy trusted.toml", &[("DIR", data)]);
    assert!(verified.contains("1 witnesses"), "{verified}");
    let key = value(policy, "key");

    // Proofs by the command, checked by the other implementation.
    let proof = guide.file("proof.json");
    let one = "holdfast ledger prove --entry N [--size S]";
    let grown = "holdfast ledger prove --consistency A B";
    for (line, values) in [
        (one, &[("N", "3"), ("--size", ""), ("S", "")][..]),
        (one, &[("N", "0"), ("S", "7")][..]),
        (grown, &[("A", "3"), ("B", "20")][..]),
    ] {
        let proven = guide.walk(line, values);
        fs::write(&proof, proven).unwrap();
        passes(python(&["proof", proof.to_str().unwrap()]));
    }
    let proven = guide.walk(one, &[("N", "0"), ("S", "7")]);
    let wrong = proven.replace("\"index\":0", "\"index\":1");
    assert_ne!(wrong, proven);
    fs::write(&proof, wrong).unwrap();
    fails(python(&["proof", proof.to_str().unwrap()]));
    let beyond = guide.run(one, &[("N", "99999999"), ("--size", ""), ("S", "")]);
    assert_eq!(beyond.status.code(), Some(2), "{}", text(&beyond));

    // A list, and evidence, on what was cosigned.
    let list = "holdfast ledger entries --kind KIND [--patient ID]";
    let listed = guide.walk(list, &[("KIND", "access"), ("--patient", ""), ("ID", "")]);
    let entry: serde_json::Value = serde_json::from_str(listed.lines().next().unwrap()).unwrap();
    let patient = entry["entry"]["event"]["patient"].as_str().unwrap().to_owned();
    let about = guide.walk(list, &[("KIND", "access"), ("ID", &patient)]);
    assert!(about.lines().count() > 0 && about.lines().all(|line| line.contains(&patient)));
    let words = guide.walk("holdfast ledger entries --words --kind KIND", &[("KIND", "access")]);
    assert!(words.starts_with("Entry ") && words.contains("of a patient's record"), "{words}");
    assert_eq!(words.lines().count(), listed.lines().count());
    let principal = entry["entry"]["actor"]["principal"].as_str().unwrap().to_owned();
    guide.walk(
        "holdfast ledger evidence --principal NAME --policy trusted.toml --out FILE",
        &[("NAME", &principal), ("FILE", "evidence.bundle")],
    );
    guide.walk("holdfast ledger verify FILE --policy trusted.toml", &[("FILE", "evidence.bundle")]);
    let strict = guide.text_of("trusted.toml");
    let of_witness = |line: &&str| line.starts_with("key = \"witness.example.org/w1+");
    let witness = strict.lines().find(of_witness).unwrap();
    let witness = witness.trim_start_matches("key = \"").trim_end_matches('"');
    let bundle = guide.file("evidence.bundle");
    let bundle = bundle.to_str().unwrap();
    let independent = ["bundle", bundle, "--key", &key, "--witness", witness, "--required", "1"];
    passes(python(&independent));
    let changed = fs::read_to_string(bundle).unwrap();
    let sold = changed.replacen("was given", "was sold", 1);
    assert_ne!(sold, changed);
    fs::write(bundle, sold).unwrap();
    fails(python(&independent));
    let sold = guide
        .run("holdfast ledger verify FILE --policy trusted.toml", &[("FILE", "evidence.bundle")]);
    assert_eq!(sold.status.code(), Some(1), "{}", text(&sold));

    // Anybody's monitor, without sign-in.
    let monitor = guide.file("monitor");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let tile = runtime.block_on(downloaded(demo, &monitor));
    passes(python(&["folder", monitor.to_str().unwrap(), "--key", &key]));
    let mut bytes = fs::read(&tile).unwrap();
    bytes[50] ^= 1;
    fs::write(&tile, bytes).unwrap();
    fails(python(&["folder", monitor.to_str().unwrap(), "--key", &key]));
}

/// Downloads what is public of the ledger; gives the path of one tile.
async fn downloaded(demo: &Demo, to: &Path) -> PathBuf {
    let anybody = Client::of_folder(&demo.dir, &demo.config()).unwrap();
    let note = anybody.get("/ledger/checkpoint").await.unwrap().accepted().unwrap().body;
    let size: u64 = String::from_utf8_lossy(&note).lines().nth(1).unwrap().parse().unwrap();
    let mut last = PathBuf::new();
    for index in 0..size.div_ceil(256) {
        let width = 256.min(size - index * 256);
        for kind in ["0", "entries"] {
            let partial = if width == 256 { String::new() } else { format!(".p/{width}") };
            let path = format!("tile/{kind}/{index:03}{partial}");
            let tile = anybody.get(&format!("/ledger/{path}")).await.unwrap();
            last = to.join(path);
            fs::create_dir_all(last.parent().unwrap()).unwrap();
            fs::write(&last, tile.accepted().unwrap().body).unwrap();
        }
    }
    fs::write(to.join("checkpoint"), note).unwrap();
    for secret in ["bodies/000000", "tile/../bodies/000000", "lock", "tile/0/000.p/999"] {
        assert_eq!(anybody.get(&format!("/ledger/{secret}")).await.unwrap().status, 404);
    }
    last
}
