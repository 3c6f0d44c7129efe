use std::os::unix::fs::PermissionsExt;

use super::*;

pub(crate) const PASSPHRASE: &[u8] = b"correct horse battery staple";
const ONE: &[u8] = PASSPHRASE;
const TWO: &[u8] = b"paper walrus trumpet seventeen";

fn open(dir: &Path, secret: &[u8]) -> Result<OpenRoot, RootError> {
    OpenRoot::open(dir, secret, Steps::default())
}

fn bytes(root: &OpenRoot) -> [u8; 32] {
    *root.roots().newest().secret.bytes()
}

/// The file as the version before this one wrote it.
pub(crate) fn write_v1(dir: &Path, root: &Secret, passphrase: &[u8]) {
    let GuardText::Passphrase { kdf, cost, salt } = GuardText::passphrase() else {
        unreachable!("a passphrase")
    };
    let text = GuardText::Passphrase { kdf: kdf.clone(), cost, salt: salt.clone() };
    let guard = text.open(passphrase).expect("stretches");
    let sealed = guard.wrap(&place("holdfast/v1/root", &[]), root.bytes()).expect("seals");
    let sealed = to_hex(&sealed);
    let mut file = RootTextV1 { kdf, cost, salt, sealed, checksum: String::new() };
    file.checksum = file.computed_checksum();
    let json = serde_json::json!({
        "format": FORMAT_1, "kdf": file.kdf, "cost": file.cost, "salt": file.salt,
        "sealed": file.sealed, "checksum": file.checksum,
    });
    private_dir(dir).expect("a folder");
    fs::write(dir.join(FILE_NAME), json.to_string()).expect("writes");
}

#[test]
fn the_passphrase_opens_the_root_key_and_another_does_not() {
    let folder = tempfile::tempdir().expect("temp dir");
    let dir = folder.path().join("keeper");
    initialise(&dir, ONE).expect("initialises");
    let first = open(&dir, ONE).expect("opens");
    assert_eq!(bytes(&first), bytes(&open(&dir, ONE).expect("opens")));
    assert!(matches!(open(&dir, TWO), Err(RootError::WrongSecret)));
    let mode = fs::metadata(dir.join(FILE_NAME)).expect("exists").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let mode = fs::metadata(&dir).expect("exists").permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

#[test]
fn a_second_initialisation_leaves_the_first_key() {
    let folder = tempfile::tempdir().expect("temp dir");
    initialise(folder.path(), ONE).expect("initialises");
    let before = bytes(&open(folder.path(), ONE).expect("opens"));
    let again = initialise(folder.path(), TWO).expect_err("refused");
    assert!(matches!(again, InitError::AlreadyInitialised { .. }));
    assert_eq!(bytes(&open(folder.path(), ONE).expect("opens")), before);
}

#[test]
fn damage_is_told_from_a_wrong_passphrase() {
    let folder = tempfile::tempdir().expect("temp dir");
    assert!(matches!(open(folder.path(), ONE), Err(RootError::Missing)));
    initialise(folder.path(), ONE).expect("initialises");
    let path = folder.path().join(FILE_NAME);
    let text = fs::read_to_string(&path).expect("reads");
    let salt_at = text.find("salt").expect("has a salt") + 8;
    let digit = if text.as_bytes()[salt_at] == b'0' { "1" } else { "0" };
    let mut changed = text.clone();
    changed.replace_range(salt_at..=salt_at, digit);
    for damaged in [&changed, &text[..text.len() / 2], ""] {
        fs::write(&path, damaged).expect("writes");
        assert!(matches!(open(folder.path(), ONE), Err(RootError::Damaged)));
    }
    fs::write(&path, text.replace("root-key/2", "root-key/9")).expect("writes");
    assert!(matches!(open(folder.path(), ONE), Err(RootError::Newer { .. })));
}

#[test]
fn empty_and_weak_passphrases_are_refused() {
    let folder = tempfile::tempdir().expect("temp dir");
    assert!(matches!(initialise(folder.path(), b""), Err(InitError::EmptyPassphrase)));
    assert!(matches!(initialise(folder.path(), b"secret"), Err(InitError::WeakPassphrase { .. })));
    assert!(!folder.path().join(FILE_NAME).exists());
}

#[test]
fn the_file_of_the_version_before_opens_and_becomes_one_of_this_version() {
    let folder = tempfile::tempdir().expect("temp dir");
    let secret = Secret::random();
    write_v1(folder.path(), &secret, ONE);
    assert!(matches!(open(folder.path(), TWO), Err(RootError::WrongSecret)));
    let mut root = open(folder.path(), ONE).expect("opens");
    assert!(root.roots().is_of_layout_1());
    root.settle().expect("writes");
    let root = open(folder.path(), ONE).expect("opens");
    assert!(!root.roots().is_of_layout_1());
    assert_eq!(&bytes(&root), secret.bytes());
}

#[test]
fn a_changed_passphrase_opens_the_same_root_and_the_old_one_does_not() {
    let folder = tempfile::tempdir().expect("temp dir");
    initialise(folder.path(), ONE).expect("initialises");
    let mut root = open(folder.path(), ONE).expect("opens");
    let before = bytes(&root);
    root.protect(GuardText::passphrase(), TWO).expect("changes");
    assert!(matches!(open(folder.path(), ONE), Err(RootError::WrongSecret)));
    assert_eq!(bytes(&open(folder.path(), TWO).expect("opens")), before);
}

/// Stops after every step of every kind of write: the file opens with the old or
/// the new passphrase and still has the root, or both roots of a rotation.
#[test]
fn stopped_after_any_write_the_file_is_the_old_or_the_new_one() {
    let folder = tempfile::tempdir().expect("temp dir");
    initialise(folder.path(), ONE).expect("initialises");
    for kind in ["rotate", "protect", "settle", "kit"] {
        let mut stop = 0;
        loop {
            let dir = folder.path().join(format!("{kind}-{stop}"));
            private_dir(&dir).expect("a folder");
            fs::copy(folder.path().join(FILE_NAME), dir.join(FILE_NAME)).expect("copies");
            if kind == "settle" {
                open(&dir, ONE).expect("opens").begin_rotation().expect("begins");
            }
            let steps = Steps::stop_after(stop);
            let mut root = OpenRoot::open(&dir, ONE, steps.clone()).expect("opens");
            let before: Vec<_> = root.roots.list.iter().map(|r| *r.secret.bytes()).collect();
            let done = match kind {
                "rotate" => root.begin_rotation().map(drop),
                "protect" => root.protect(GuardText::passphrase(), TWO),
                "settle" => root.settle(),
                _ => root.make_kit(2, 3, Timestamp::from_millis(1)).map(drop),
            };
            let after = open(&dir, ONE).or_else(|_| open(&dir, TWO)).expect("opens");
            let after: Vec<_> = after.roots.list.iter().map(|r| *r.secret.bytes()).collect();
            let newest = before.last().expect("one");
            assert!(after.contains(newest), "{kind} stopped after {stop}: the root is gone");
            if done.is_ok() {
                assert!(steps.left() >= 0 && stop > 4, "{kind} has several steps");
                break;
            }
            stop += 1;
        }
    }
}
