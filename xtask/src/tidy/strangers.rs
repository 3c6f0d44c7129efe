//! The repository speaks of itself alone: no path of somebody's machine, no
//! registry but the public one.

use super::{Complaints, File};

/// The one source of packages, as `Cargo.lock` writes it.
const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Beginnings of paths that exist on somebody's machine only. Put together, so that
/// this file passes.
const FOLDERS: &[&str] = &[
    concat!("/", "home/"),
    concat!("/", "Users/"),
    concat!("/", "root/"),
    concat!("/", "work/"),
    concat!("/", "workspace/"),
    concat!("/", "tmp/t/"),
    concat!("C:", "\\Users\\"),
];

/// Words by which another registry or mirror is named.
const REGISTRIES: &[&str] = &[
    concat!("replace", "-with"),
    concat!("arti", "factory"),
    concat!("index", "-url"),
    concat!("PIP_", "INDEX_URL"),
    concat!("sparse+", "http"),
    concat!("[registries", "."),
];

/// Every mention of a stranger.
pub fn check(files: &[File]) -> Complaints {
    let mut complaints = Vec::new();
    for file in files {
        let Some(text) = &file.text else { continue };
        for (number, line) in (1..).zip(text.lines()) {
            let place = format!("{}:{number}", file.path);
            if let Some(folder) = FOLDERS.iter().find(|folder| names_path(line, folder)) {
                complaints.push(format!("{place}: {folder} is a path of somebody's own folder"));
            }
            let lower = line.to_lowercase();
            if let Some(word) = REGISTRIES.iter().find(|word| lower.contains(&word.to_lowercase()))
            {
                complaints
                    .push(format!("{place}: `{word}` names a package registry of somebody's"));
            }
            let source = line.strip_prefix("source = ").map(|source| source.trim_matches('"'));
            if file.path.ends_with("Cargo.lock") && source.is_some_and(|source| source != CRATES_IO)
            {
                complaints.push(format!("{place}: a package comes from elsewhere than crates.io"));
            }
        }
    }
    complaints
}

/// Whether `line` holds an absolute path below `folder`: what stands before it is
/// no part of a longer path.
fn names_path(line: &str, folder: &str) -> bool {
    line.match_indices(folder).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        before.is_none_or(|c| !(c.is_alphanumeric() || "._-~/}>)".contains(c)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(path: &str, text: &str) -> usize {
        check(&[File { path: path.into(), text: Some(text.into()) }]).len()
    }

    #[test]
    fn a_path_of_somebodys_machine_is_found() {
        for folder in FOLDERS {
            assert_eq!(count("docs/a.md", &format!("see {folder}x")), 1, "{folder}");
            assert_eq!(count("docs/a.md", &format!("a/b{folder}x")), 0, "{folder}");
        }
    }

    #[test]
    fn another_registry_is_found() {
        for word in REGISTRIES {
            assert_eq!(count(".cargo/config.toml", &format!("x {word}y")), 1, "{word}");
        }
        assert_eq!(count("Cargo.lock", &format!("source = \"{CRATES_IO}\"")), 0);
        assert_eq!(count("Cargo.lock", "source = \"git+https://example.com/x\""), 1);
    }

    #[test]
    fn what_is_no_text_is_passed_over() {
        assert!(check(&[File { path: "a.gz".into(), text: None }]).is_empty());
    }
}
