//! P6, P11: from an empty folder to the first message, by commands alone: who administers,
//! who may do what, what was refused and is tried again.
#![allow(clippy::unwrap_used)]

mod common;

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::Output;

use common::{Serving, holdfast_with, serve_in, text, told};
use holdfast::client::Credentials;
use tempfile::TempDir;

const LAKESIDE: &str = "lakeside-family";

fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// A place for a new exchange, and the ports that it will have.
struct Site {
    outside: TempDir,
    https: SocketAddr,
    mllp: SocketAddr,
}

impl Site {
    fn new() -> Self {
        let outside = tempfile::Builder::new().prefix("hf").tempdir().unwrap();
        Self { outside, https: free_port(), mllp: free_port() }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.outside.path().join(name)
    }

    fn path(&self, name: &str) -> String {
        self.at(name).to_str().unwrap().to_owned()
    }

    fn environment(&self) -> Vec<(String, String)> {
        [
            ("HOLDFAST_DIR", self.path("data")),
            ("HOLDFAST_PASSPHRASE_FILE", self.path("passphrase")),
            ("HOLDFAST_HTTPS", self.https.to_string()),
            ("HOLDFAST_MLLP", self.mllp.to_string()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec()
    }

    fn run_with(&self, arguments: &[&str], more: &[(&str, &str)]) -> Output {
        let own = self.environment();
        let own: Vec<(&str, &str)> = own.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        holdfast_with(arguments, &[&own[..], more].concat())
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.run_with(arguments, &[])
    }

    fn serve(&self) -> Serving {
        serve_in(&self.at("data"), &self.environment())
    }

    /// The session of somebody in the credentials file.
    fn signed_in(&self, user: &str) -> Session<'_> {
        let people = self.path("people.toml");
        let token = self.run(&["token", "--credentials", &people, "--user", user]);
        assert!(token.status.success(), "{user}: {}", told(&token));
        Session { site: self, token: text(&token).trim().to_owned() }
    }
}

struct Session<'a> {
    site: &'a Site,
    token: String,
}

impl Session<'_> {
    fn run(&self, arguments: &[&str]) -> Output {
        self.site.run_with(arguments, &[("HOLDFAST_TOKEN", &self.token)])
    }

    fn works(&self, arguments: &[&str]) -> String {
        works(&self.run(arguments))
    }

    fn refused(&self, arguments: &[&str], why: &str) {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", text(&output));
        assert!(told(&output).contains(why), "{arguments:?}: {}", told(&output));
        assert_eq!(told(&output).trim().lines().count(), 1, "one sentence: {}", told(&output));
    }
}

fn works(output: &Output) -> String {
    assert!(output.status.success(), "{}{}", text(output), told(output));
    text(output)
}

fn registration(number: usize) -> String {
    format!(
        "MSH|^~\\&|CHARTWELL|LAKESIDEFM|X|Y|20260101||ADT^A04^ADT_A01|N{number}|P|2.5.1\r\
         PID|1||N{number}^^^LAKESIDEFM^MR||Quillfeather{number}^Isolde||19700101|F\r"
    )
}

#[test]
fn p06_from_an_empty_folder_to_the_first_message_and_a_replay() {
    let site = Site::new();
    let (people, passphrase) = (site.path("people.toml"), site.path("passphrase"));
    the_first_administrator_is_a_person_and_the_only_one(&site, &people, &passphrase);

    let serving = site.serve();
    let jo = site.signed_in("jo.moss");
    organizations_are_added_and_changed(&jo);
    accounts_are_made_for_one_each(&site, &jo, &people);
    let (privacy, security) = (site.signed_in("rosa.whit"), site.signed_in("sam.vander"));
    p11_a_clients_office_sees_the_clients_own(&jo, &privacy);

    refused_messages_are_listed_shown_and_tried_again(&site, &jo, &privacy, &security);
    suspending_stops_people_systems_and_whole_organizations(&site, &jo, &security);
    new_secrets_end_the_old_ones(&site, &jo, &people);
    everything_stands_in_the_ledger(&security);

    assert!(serving.stop());
    p06_the_passphrase_brings_a_locked_out_administrator_back(&site, &people);
}

fn the_first_administrator_is_a_person_and_the_only_one(
    site: &Site,
    people: &str,
    passphrase: &str,
) {
    let inside = site.path("data/people.toml");
    let both = site.run(&["init", "--administrator", "jo.moss", "--credentials", &inside]);
    assert!(told(&both).contains("whoever steals one"), "{}", told(&both));
    assert!(!site.at("data").exists());
    // The login of 2015. The folder is made, nobody is, and the command goes on.
    let shared = ["init", "--passphrase-file", passphrase, "--administrator", "tester"];
    let shared = site.run(&shared);
    assert_eq!(shared.status.code(), Some(2));
    assert!(told(&shared).contains("one that many share"), "{}", told(&shared));
    let again = site.run(&["init"]);
    assert!(told(&again).contains("is not empty"), "{}", told(&again));
    let init = ["init", "--administrator", "jo.moss", "--name", "Jo Moss", "--credentials", people];
    let made = works(&site.run(&init));
    assert!(made.contains("otpauth://totp/Holdfast:jo.moss?secret="), "{made}");
    let credentials = Credentials::read(&site.at("people.toml")).unwrap();
    let jo = credentials.of_user("jo.moss").unwrap();
    assert!(made.contains(&jo.password) && jo.password.len() > 20, "a strong one: {made}");
    for late in [
        &["account", "first", "--administrator", "eve.own"][..],
        &["init", "--administrator", "eve.own"],
    ] {
        let late = site.run(late);
        assert!(told(&late).contains("has an administrator"), "{}", told(&late));
    }
}

fn organizations_are_added_and_changed(jo: &Session<'_>) {
    let add = [
        "organization",
        "add",
        LAKESIDE,
        "--name",
        "Lakeside Family Medicine",
        "--module",
        "practice",
        "--city",
        "Fort Wayne",
        "--state",
        "IN",
        "--authority",
        "LAKESIDEFM=urn:oid:2.999.4471.1",
        "--time-zone",
        "EST5EDT,M3.2.0,M11.1.0",
    ];
    assert!(jo.works(&add).contains("is on the exchange"));
    assert!(jo.works(&add).contains("there already"));
    let other = [&add[..4], &["Another Name"], &add[5..]].concat();
    jo.refused(&other, "with other settings");
    jo.refused(&add[..5], "needs --module");
    let change = |more: &[&'static str]| [&["organization", "change", LAKESIDE], more].concat();
    jo.refused(&change(&["--state", "Indiana"]), "two letters");
    jo.refused(&change(&["--time-zone", "Fort Wayne"]), "POSIX form");
    jo.refused(&change(&["--default-authority", "NOBODY"]), "one of the assigning authorities");
    jo.works(&change(&["--phone", "260-555-0112"]));
    let shown = jo.works(&["organization", "show", LAKESIDE]);
    assert!(shown.contains("260-555-0112") && shown.contains("Fort Wayne"), "{shown}");
    let list = jo.works(&["organization", "list"]);
    assert!(list.contains("operator") && list.contains("Lakeside Family Medicine"), "{list}");
    jo.refused(&["organization", "show", "nowhere"], "404");
}

fn accounts_are_made_for_one_each(site: &Site, jo: &Session<'_>, people: &str) {
    let of = |name, organization, role| {
        ["account", "add", name, "--organization", organization, "--role", role, "--name", "A Name"]
    };
    for (name, organization, role) in [
        ("rosa.whit", LAKESIDE, "privacy-officer"),
        ("amara.own", LAKESIDE, "clinician"),
        ("bela.own", LAKESIDE, "clinician"),
        ("cora.own", LAKESIDE, "clinician"),
        ("sam.vander", "exchange", "security-officer"),
        ("ellen.own", "exchange", "privacy-officer"),
    ] {
        let made = jo.works(&[&of(name, organization, role)[..], &["--out", people]].concat());
        assert!(made.contains("shown once"), "{made}");
    }
    jo.refused(&of("front.desk", LAKESIDE, "registrar"), "one that many share");
    jo.refused(&of("rosa.whit", LAKESIDE, "nurse"), "taken");
    jo.refused(&of("jan.own", LAKESIDE, "wizard"), "a role is one of");
    jo.refused(&of("jan.own", "nowhere", "nurse"), "404");
    jo.refused(&of("jan.own", LAKESIDE, "administrator"), "other-organization");
    jo.refused(&of("hl7@lakeside", LAKESIDE, "system"), "--certificate FILE");

    let pem = site.path("lakeside.pem");
    let system = of("hl7v2@lakeside-family", LAKESIDE, "system");
    jo.works(&[&system[..], &["--certificate", &pem]].concat());
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&pem).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600, "its key is for its owner");
    jo.refused(
        &[&of("b@lakeside-family", LAKESIDE, "system")[..], &["--certificate", &pem]].concat(),
        "exists already",
    );
    // A partner's own key never leaves the partner.
    let key = rcgen::KeyPair::generate().unwrap();
    let mut wish = rcgen::CertificateParams::new(vec!["bank.example".to_owned()]).unwrap();
    wish.distinguished_name.push(rcgen::DnType::CommonName, "hl7v2@lakeside-family");
    let request = wish.serialize_request(&key).unwrap().pem().unwrap();
    std::fs::write(site.at("partner.csr"), &request).unwrap();
    let (csr, certificate) = (site.path("partner.csr"), site.path("partner.pem"));
    let partner = of("partner@lakeside-family", LAKESIDE, "system");
    let by = ["--certificate", &certificate, "--request", &csr];
    jo.works(&[&partner[..], &by].concat());
    let issued = std::fs::read_to_string(&certificate).unwrap();
    assert!(issued.starts_with("-----BEGIN CERTIFICATE-----") && !issued.contains("PRIVATE"));
    let joined = format!("{}{issued}", key.serialize_pem());
    std::fs::write(&certificate, joined).unwrap();
    std::fs::write(site.at("first.hl7"), registration(0)).unwrap();
    let load = |pem: &str| {
        let first = site.path("first.hl7");
        site.run(&["load", "--certificate", pem, "--organization", LAKESIDE, &first])
    };
    assert!(works(&load(&certificate)).contains("1 accepted"));
    let shown = jo.works(&["account", "show", "partner@lakeside-family"]);
    assert!(shown.contains("certificate_sha256\": \""), "{shown}");
    jo.works(&["account", "close", "partner@lakeside-family"]);
    assert!(!load(&certificate).status.success(), "it is nobody's certificate any more");
}

fn p11_a_clients_office_sees_the_clients_own(jo: &Session<'_>, privacy: &Session<'_>) {
    let all = jo.works(&["account", "list"]);
    assert!(all.contains("sam.vander") && all.contains("amara.own"), "{all}");
    let own = privacy.works(&["account", "list"]);
    assert!(own.contains("amara.own") && !own.contains("sam.vander"), "{own}");
    privacy.refused(&["account", "show", "sam.vander"], "404");
    privacy.refused(&["account", "suspend", "sam.vander", "--reason", "x"], "other-organization");
    privacy
        .refused(&["organization", "suspend", "exchange", "--reason", "x"], "other-organization");
    privacy.refused(&["organization", "suspend", LAKESIDE, "--reason", "x"], "other-organization");
    privacy.refused(&["account", "reset", "amara.own"], "task-not-for-role");
    privacy.refused(&["organization", "change", LAKESIDE, "--phone", "1"], "task-not-for-role");
}

fn refused_messages_are_listed_shown_and_tried_again(
    site: &Site,
    jo: &Session<'_>,
    privacy: &Session<'_>,
    security: &Session<'_>,
) {
    let send = |name: &str, message: &str| {
        std::fs::write(site.at(name), message).unwrap();
        let (pem, file) = (site.path("lakeside.pem"), site.path(name));
        site.run(&["load", "--certificate", &pem, "--organization", LAKESIDE, &file])
    };
    assert!(jo.works(&["message", "list"]).contains("nothing waits"));
    assert!(works(&send("1.hl7", &registration(1))).contains("1 accepted"));
    // The two who were registered fill it.
    let set_budget = |who: &Session<'_>, per: &str| {
        let own = ["--per-minute", per, "--per-hour", per, "--per-day", per, "--reason", "a test"];
        who.run(&[&["budget", "--organization", LAKESIDE], &own[..]].concat())
    };
    assert!(told(&set_budget(jo, "2")).contains("task-not-for-role"));
    works(&set_budget(security, "2"));
    for number in 2..5 {
        let over = send(&format!("{number}.hl7"), &registration(number));
        assert!(text(&over).contains("1 refused"), "{}", text(&over));
    }
    let nobody = "MSH|^~\\&|CHARTWELL|LAKESIDEFM|X|Y|20260101||ADT^A04|M1|P|2.5.1\rPV1|1|O\r";
    assert!(text(&send("5.hl7", nobody)).contains("1 refused"));

    let list = jo.works(&["message", "list"]);
    let number = |line: &str| line.split_whitespace().next().unwrap().to_owned();
    let over: Vec<_> = list.lines().filter(|line| line.contains(" over-budget ")).collect();
    assert_eq!((over.len(), list.lines().count()), (3, 4), "{list}");
    assert!(!list.contains("Quillfeather") && !list.contains("LAKESIDEFM"), "{list}");
    let missing = jo.works(&["message", "list", "--category", "missing"]);
    assert!(missing.contains("patient segment") && missing.lines().count() == 1, "{missing}");
    assert_eq!(jo.works(&["message", "list", "--limit", "2"]).lines().count(), 2);
    let elsewhere = ["message", "list", "--organization", "exchange"];
    privacy.refused(&elsewhere, "other-organization");
    security.refused(&["message", "list"], "task-not-for-role");

    // Again while nothing has changed.
    let oldest = number(over.last().unwrap());
    let again = jo.run(&["message", "replay", &oldest]);
    assert_eq!(again.status.code(), Some(1), "{}{}", text(&again), told(&again));
    assert!(text(&again).contains("refused"), "{}", text(&again));
    works(&set_budget(security, "3000"));

    // What it says: for the sender's own office, by name and reason.
    let show = |who: &Session<'_>| who.run(&["message", "show", &oldest, "--reason", "a test"]);
    for administers in [jo, security, &site.signed_in("ellen.own")] {
        let refused = show(administers);
        assert!(!refused.status.success() && !text(&refused).contains("Quill"));
    }
    assert!(works(&show(privacy)).contains("Quillfeather2"), "the oldest is the last");
    let entries =
        ["ledger", "entries", "--kind", "service-key-release", "--principal", "rosa.whit"];
    let opened = security.works(&entries);
    assert!(opened.contains("shown: a test") && opened.lines().count() == 1, "{opened}");

    // Again after the cause was mended.
    assert!(jo.works(&["message", "replay", &oldest]).contains("accepted"));
    let twice = jo.works(&["message", "replay", &oldest]);
    assert!(twice.contains("accepted"), "it stays as it is: {twice}");
    let rest = jo.works(&["message", "replay", "--category", "over-budget"]);
    assert!(rest.contains("2 tried again: 2 part of a record now"), "{rest}");
    let none = jo.works(&["message", "replay", "--category", "over-budget"]);
    assert!(none.contains("0 tried again"), "{none}");
    privacy.refused(&["message", "show", &oldest, "--reason", "x"], "read it there");
    jo.refused(&["message", "replay", "4711"], "404");
    assert!(works(&send("2.hl7", &registration(2))).contains("1 duplicate"));
    let intake = ["ledger", "entries", "--kind", "intake", "--limit", "100"];
    let intake = security.works(&intake);
    let accepted = intake.lines().filter(|line| line.contains("\"outcome\":\"accepted\""));
    assert_eq!(accepted.count(), 5, "each once: {intake}");
    let replayed = intake.lines().filter(|line| line.contains("\"outcome\":\"replayed\""));
    assert!(replayed.clone().all(|line| line.contains("jo.moss")));
    assert_eq!(replayed.count(), 4, "two of the first, one of each other: {intake}");
}

fn suspending_stops_people_systems_and_whole_organizations(
    site: &Site,
    jo: &Session<'_>,
    security: &Session<'_>,
) {
    let doctor = site.signed_in("amara.own");
    doctor.works(&["account", "list"]);
    jo.refused(&["account", "suspend", "amara.own", "--reason", "x"], "task-not-for-role");
    security.works(&["account", "suspend", "amara.own", "--reason", "left her badge"]);
    assert!(!doctor.run(&["account", "list"]).status.success());
    assert!(jo.works(&["account", "list"]).contains("SUSPENDED: left her badge"));
    security.works(&["account", "restore", "amara.own", "--reason", "found it"]);
    site.signed_in("amara.own").works(&["account", "list"]);

    let load = || {
        let (pem, file) = (site.path("lakeside.pem"), site.path("1.hl7"));
        site.run(&["load", "--certificate", &pem, "--organization", LAKESIDE, &file])
    };
    let doctor = site.signed_in("bela.own");
    let all = ["organization", "suspend", LAKESIDE, "--reason", "their network was broken into"];
    security.works(&all);
    assert!(!doctor.run(&["account", "list"]).status.success(), "people");
    assert!(!load().status.success(), "systems");
    assert!(jo.works(&["organization", "list"]).contains("SUSPENDED: their network"));
    let own = ["organization", "suspend", "exchange", "--reason", "x"];
    security.refused(&own, "runs-the-exchange");
    security.works(&["organization", "restore", LAKESIDE, "--reason", "a new network"]);
    assert!(works(&load()).contains("1 duplicate"));
}

fn new_secrets_end_the_old_ones(site: &Site, jo: &Session<'_>, people: &str) {
    let old = std::fs::read_to_string(site.at("people.toml")).unwrap();
    let doctor = site.signed_in("cora.own");
    jo.works(&["account", "reset", "cora.own", "--out", people]);
    assert!(!doctor.run(&["account", "list"]).status.success(), "the session is over");
    site.signed_in("cora.own").works(&["account", "list"]);
    assert_ne!(old, std::fs::read_to_string(site.at("people.toml")).unwrap());
    let renewed = site.path("renewed.pem");
    let system = "hl7v2@lakeside-family";
    jo.works(&["account", "reset", system, "--certificate", &renewed]);
    let load = |pem: &str| {
        let (pem, file) = (site.path(pem), site.path("1.hl7"));
        site.run(&["load", "--certificate", &pem, "--organization", LAKESIDE, &file])
    };
    assert!(!load("lakeside.pem").status.success(), "the former certificate");
    assert!(works(&load("renewed.pem")).contains("1 duplicate"));
    jo.refused(&["account", "close", "jo.moss"], "last-administrator");
    jo.works(&["account", "close", "cora.own"]);
    jo.refused(&["account", "reset", "cora.own"], "404");
    let reused = ["account", "add", "cora.own", "--organization", LAKESIDE, "--role", "nurse"];
    jo.refused(&[&reused[..], &["--name", "Another"]].concat(), "taken");
}

fn everything_stands_in_the_ledger(security: &Session<'_>) {
    let changes = ["ledger", "entries", "--kind", "account-change,containment"];
    let changes = security.works(&changes);
    for (principal, change) in [
        ("jo.moss", "created"),
        ("rosa.whit", "created"),
        ("cora.own", "secret-reset"),
        ("cora.own", "closed"),
        ("hl7v2@lakeside-family", "secret-reset"),
        ("organization:lakeside-family", "suspended"),
        ("organization:lakeside-family", "lifted"),
    ] {
        let found = changes.lines().any(|line| line.contains(principal) && line.contains(change));
        assert!(found, "{principal} {change}: {changes}");
    }
}

fn p06_the_passphrase_brings_a_locked_out_administrator_back(site: &Site, people: &str) {
    let recover = |more: &[&str], environment: &[(&str, &str)]| {
        let all = ["account", "recover", "--credentials", people, "--administrator"];
        site.run_with(&[&all[..], more].concat(), environment)
    };
    let wrong = site.path("wrong");
    std::fs::write(&wrong, "open sesame, please").unwrap();
    let wrong = recover(&["jo.moss"], &[("HOLDFAST_PASSPHRASE_FILE", wrong.as_str())]);
    assert!(told(&wrong).contains("passphrase is wrong"), "{}", told(&wrong));
    let other = recover(&["rosa.whit"], &[]);
    assert!(told(&other).contains("administrators only"), "{}", told(&other));
    let recovered = works(&recover(&["jo.moss"], &[]));
    assert!(recovered.contains("otpauth://"), "{recovered}");
    let serving = site.serve();
    let jo = site.signed_in("jo.moss");
    jo.works(&["organization", "list"]);
    assert!(serving.stop());
}

/// The commands of the README's section, the one that serves aside: those before it
/// and those after.
fn readme() -> (String, String) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md");
    let readme = std::fs::read_to_string(path).unwrap();
    let section = readme.split_once("## An exchange of your own").unwrap().1;
    let block = section.split("```").nth(1).unwrap().strip_prefix("sh\n").unwrap();
    let (before, after) = block.split_once("holdfast serve &\n").unwrap();
    (before.to_owned(), after.to_owned())
}

#[test]
fn the_readmes_ten_commands_make_an_exchange() {
    let site = Site::new();
    let bin = site.at("bin");
    std::fs::create_dir(&bin).unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_holdfast"), bin.join("holdfast")).unwrap();
    let run = |script: &str| {
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
        let output = std::process::Command::new("sh")
            .args(["-e", "-c", script])
            .current_dir(site.outside.path())
            .env("PATH", path)
            .env("HOLDFAST_HTTPS", site.https.to_string())
            .env("HOLDFAST_MLLP", site.mllp.to_string())
            .output()
            .unwrap();
        assert!(output.status.success(), "{script}: {}{}", text(&output), told(&output));
        text(&output)
    };
    let (before, after) = readme();
    assert_eq!(format!("{before}{after}").matches("holdfast ").count(), 9, "ten with the server");
    run(&before);
    let mut environment = site.environment();
    environment.retain(|(name, _)| name != "HOLDFAST_DIR");
    let serving = serve_in(&site.at("exchange"), &environment);
    let exports = before.lines().next().unwrap();
    let shown = run(&format!("{exports}\n{after}"));
    assert!(shown.contains("files: 6 accepted\n"), "{shown}");
    assert!(shown.trim_end().ends_with("nothing waits, nothing was refused"), "{shown}");
    assert!(serving.stop());
}

/// Signs in to what `site` has become, and lists who is there.
fn an_administrator_can_sign_in(site: &Site) {
    let serving = site.serve();
    assert!(site.signed_in("jo.moss").works(&["account", "list"]).contains("jo.moss"));
    assert!(serving.stop());
}

#[test]
fn p14_an_init_that_is_killed_is_gone_on_with_and_ends_with_an_administrator() {
    let init = |site: &Site| {
        let (people, passphrase) = (site.path("people.toml"), site.path("passphrase"));
        [
            "init",
            "--administrator",
            "jo.moss",
            "--credentials",
            &people,
            "--passphrase-file",
            &passphrase,
        ]
        .map(str::to_owned)
    };
    // A folder that was made without one gets its first by the other command.
    let site = Site::new();
    let begun = std::time::Instant::now(); // tidy: clock, how long to wait before a kill
    works(&site.run(&["init", "--passphrase-file", &site.path("passphrase")]));
    let people = site.path("people.toml");
    let first = ["account", "first", "--administrator", "jo.moss", "--credentials", &people];
    works(&site.run(&first));
    let whole = begun.elapsed();
    an_administrator_can_sign_in(&site);

    for percent in [10, 40, 70, 95] {
        let site = Site::new();
        let arguments = init(&site);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let mut child = common::command(&arguments)
            .envs(site.environment())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(whole * percent / 100);
        child.kill().unwrap();
        child.wait().unwrap();
        let mut again = site.run(&arguments);
        // The keeper of the one that was killed may still be ending.
        for _ in 0..40 {
            if !told(&again).contains("open in another process") {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(500));
            again = site.run(&arguments);
        }
        if told(&again).contains("begun and not finished") {
            std::fs::remove_dir_all(site.at("data")).unwrap();
            again = site.run(&arguments);
        }
        if told(&again).contains("has an administrator") {
            let recover = ["account", "recover", "--administrator", "jo.moss"];
            again =
                site.run(&[&recover[..], &["--credentials", &site.path("people.toml")]].concat());
        }
        assert!(again.status.success(), "at {percent} %: {}{}", text(&again), told(&again));
        an_administrator_can_sign_in(&site);
    }
}
