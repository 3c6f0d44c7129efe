//! A package that a manifest names is used by the crate: every one is built on every
//! machine, and read by whoever looks for what Holdfast trusts.

use super::edges::Manifest;
use super::source::Source;
use super::{Complaints, File};

/// Every dependency whose name occurs nowhere in its crate.
pub fn check(manifests: &[Manifest], sources: &[Source], files: &[File]) -> Complaints {
    let mut complaints = Vec::new();
    for manifest in manifests {
        let folder = manifest.path.trim_end_matches("Cargo.toml");
        let code = sources.iter().filter(|source| source.path.starts_with(folder));
        let code: Vec<&str> = code.map(|source| source.code.as_str()).collect();
        // Examples in a README are compiled, too.
        let readme = files.iter().find(|file| file.path == format!("{folder}README.md"));
        let readme = readme.and_then(|file| file.text.as_deref()).unwrap_or_default();
        for package in manifest.dependencies.iter().chain(&manifest.dev_dependencies) {
            let name = package.replace('-', "_");
            if !code.iter().chain([&readme]).any(|text| names(text, &name)) {
                let path = &manifest.path;
                complaints.push(format!("{path}: `{package}` is used nowhere in the crate"));
            }
        }
    }
    complaints
}

/// Whether `name` stands in `text` as a word of its own.
fn names(text: &str, name: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(name).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + name.len()..].chars().next();
        !before.is_some_and(part) && !after.is_some_and(part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(code: &str, readme: &str) -> Complaints {
        let manifest = Manifest {
            path: "crates/x/Cargo.toml".into(),
            name: "holdfast-x".into(),
            dependencies: vec!["tokio-rustls".into()],
            dev_dependencies: Vec::new(),
        };
        let file = File { path: "crates/x/README.md".into(), text: Some(readme.into()) };
        check(&[manifest], &[Source::new("crates/x/src/lib.rs", code)], &[file])
    }

    #[test]
    fn a_package_that_code_or_readme_names_is_used() {
        assert!(told("use tokio_rustls::TlsAcceptor;", "").is_empty());
        assert!(told("", "```rust\ntokio_rustls::f();\n```").is_empty());
    }

    #[test]
    fn a_comment_or_a_longer_name_is_no_use() {
        assert_eq!(told("// tokio_rustls", "").len(), 1);
        assert_eq!(told("use my_tokio_rustls::x; \"tokio_rustls\";", "").len(), 1);
    }
}
