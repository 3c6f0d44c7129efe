//! `tidy`: the rules of the house that the compiler does not know. Each check is
//! a file of its own, takes values and gives sentences, and has tests that show
//! it failing.

mod architecture;
mod clock;
mod crates;
mod crypto;
mod edges;
mod options;
mod settings;
mod source;
mod strangers;
mod unused;

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Outcome;
use source::Source;

/// What a check has to say: one sentence a violation, with its place in front.
type Complaints = Vec<String>;

/// A tracked file, or one that is about to be.
pub struct File {
    /// Path from the workspace, with `/`.
    pub path: String,
    /// Its text; nothing for what is not UTF-8.
    pub text: Option<String>,
}

/// Runs the verb.
pub fn run(arguments: &[String]) -> Outcome {
    if let Some(unknown) = arguments.first() {
        return Err(format!("tidy takes no argument, not `{unknown}`").into());
    }
    let files = files(&workspace())?;
    let complaints = check(&files);
    for complaint in &complaints {
        eprintln!("{complaint}");
    }
    match complaints.len() {
        0 => {
            println!("tidy: {} files keep the rules of the house", files.len());
            Ok(())
        }
        1 => Err("tidy: 1 rule is broken".into()),
        count => Err(format!("tidy: {count} rules are broken").into()),
    }
}

/// The workspace's folder: where cargo runs this from, or where it was built.
pub fn workspace() -> PathBuf {
    let here = std::env::var_os("CARGO_MANIFEST_DIR");
    here.map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from).join("..")
}

fn check(files: &[File]) -> Complaints {
    let sources: Vec<Source> = files
        .iter()
        .filter(|file| file.path.ends_with(".rs"))
        .filter_map(|file| Some(Source::new(file.path.clone(), file.text.clone()?)))
        .collect();
    let manifests = edges::manifests(files);
    let text_of = |path: &str| {
        let file = files.iter().find(|file| file.path == path);
        file.and_then(|file| file.text.as_deref()).unwrap_or_default()
    };
    [
        edges::check(&manifests),
        unused::check(&manifests, &sources, files),
        clock::check(&sources),
        settings::check(&sources),
        options::check(&sources),
        crates::check(files, &sources),
        strangers::check(files),
        architecture::check(text_of("ARCHITECTURE.md"), &manifests),
        crypto::check(text_of("crypto-policy.toml"), text_of("Cargo.lock"), &sources),
    ]
    .concat()
}

/// Every file that is tracked or would be.
fn files(root: &Path) -> Result<Vec<File>, Box<dyn std::error::Error>> {
    let listed = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output()
        .map_err(|error| format!("tidy asks git which files there are: {error}"))?;
    if !listed.status.success() {
        return Err("tidy needs a git checkout: `git ls-files` failed".into());
    }
    let paths = String::from_utf8(listed.stdout)?;
    let mut files: Vec<File> = paths
        .split_terminator('\0')
        // What was deleted and not committed is listed too.
        .filter(|path| root.join(path).is_file())
        .map(|path| {
            let text = std::fs::read(root.join(path)).map(|bytes| String::from_utf8(bytes).ok())?;
            Ok(File { path: path.to_owned(), text })
        })
        .collect::<std::io::Result<_>>()?;
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_check_is_asked() {
        let file = |path: &str, text: &str| File { path: path.into(), text: Some(text.into()) };
        // One broken rule of each kind.
        let home = ["/ho", "me/somebody"].concat();
        let complaints = check(&[
            file("ARCHITECTURE.md", ""),
            file("README.md", &home),
            file(
                "crates/server/Cargo.toml",
                "[package]\nname = \"holdfast-server\"\n[dependencies]\nholdfast-store.workspace = true",
            ),
            file(
                "crates/server/src/lib.rs",
                "fn f() { std::time::SystemTime::now(); digest(MD5); }",
            ),
            file("crates/server/src/args.rs", "#[derive(Args)]\nstruct A {\n    dir: String,\n}"),
            file(
                "crates/server/src/set.rs",
                &["const A: &str = \"HOLD", "FAST_UNKNOWN\";"].concat(),
            ),
        ]);
        let all = complaints.join("\n");
        for told in [
            "may not lean on holdfast-store",
            "time of day",
            "has no doc comment",
            "UNKNOWN",
            "forbid(unsafe_code)",
            "somebody's own folder",
            "ARCHITECTURE.md does not name",
            "used nowhere",
            "MD5",
        ] {
            assert!(all.contains(told), "nobody said `{told}`:\n{all}");
        }
    }
}
