//! What every crate and file looks like: no unsafe code, a README that says
//! something, files that one can read at a sitting.

use super::source::Source;
use super::{Complaints, File};

/// Longer files ask which two things they are.
const FILE_LINES_MAX: usize = 800;
/// A README with fewer lines of text says no more than the manifest.
const README_LINES_MIN: usize = 8;

/// Every crate without `forbid(unsafe_code)` or README, every file that is too long.
pub fn check(files: &[File], sources: &[Source]) -> Complaints {
    let mut complaints = Vec::new();
    let has = |path: &str| files.iter().find(|file| file.path == path);
    let folders = files.iter().filter_map(|file| file.path.strip_suffix("/Cargo.toml"));
    for folder in folders {
        let roots = [format!("{folder}/src/lib.rs"), format!("{folder}/src/main.rs")];
        for root in sources.iter().filter(|source| roots.contains(&source.path)) {
            if !root.code.contains("#![forbid(unsafe_code)]") {
                complaints.push(format!("{}: the crate lacks #![forbid(unsafe_code)]", root.path));
            }
        }
        // Chores are explained in CONTRIBUTING.md.
        if folder == "xtask" {
            continue;
        }
        let readme = has(&format!("{folder}/README.md")).and_then(|file| file.text.as_deref());
        let lines = readme.map_or(0, |text| text.lines().filter(|l| !l.trim().is_empty()).count());
        if lines < README_LINES_MIN {
            complaints.push(format!(
                "{folder}/README.md: {lines} lines do not tell purpose, public face, \
                 invariants and an example"
            ));
        }
    }
    for source in sources {
        let lines = source.text.lines().count();
        if lines > FILE_LINES_MAX {
            complaints.push(format!(
                "{}: {lines} lines; more than {FILE_LINES_MAX} are two things in one file",
                source.path
            ));
        }
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(library: &str, readme: &str) -> Complaints {
        let file = |path: &str, text: &str| File { path: path.into(), text: Some(text.into()) };
        let files = [
            file("crates/x/Cargo.toml", ""),
            file("crates/x/README.md", readme),
            file("crates/x/src/lib.rs", library),
        ];
        check(&files, &[Source::new("crates/x/src/lib.rs", library)])
    }

    const FORBIDS: &str = "#![forbid(unsafe_code)]\n";

    #[test]
    fn a_whole_crate_passes() {
        assert_eq!(told(FORBIDS, &"said\n".repeat(9)), Vec::<String>::new());
    }

    #[test]
    fn unsafe_code_a_stub_and_a_long_file_are_found() {
        assert_eq!(told("// #![forbid(unsafe_code)]", &"said\n".repeat(9)).len(), 1);
        assert_eq!(told(FORBIDS, "# x\n\nA crate.\n").len(), 1);
        assert_eq!(told(&FORBIDS.repeat(FILE_LINES_MAX + 1), &"said\n".repeat(9)).len(), 1);
        assert_eq!(told(&FORBIDS.repeat(FILE_LINES_MAX), &"said\n".repeat(9)).len(), 0);
    }
}
