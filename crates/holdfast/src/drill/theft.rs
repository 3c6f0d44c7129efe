//! The last step of 2015: the data itself is copied away.

use std::path::Path;

use aho_corasick::AhoCorasick;

use super::Story;
use super::attack::Reached;
use crate::failure::Failure;

/// Copies the folder and looks in every byte for what was read through the doors.
pub fn copied_folder(dir: &Path, reached: &Reached, story: &mut Story) -> Result<(), Failure> {
    let mut files = Vec::new();
    collect(dir, &mut files)?;
    let search = AhoCorasick::new(reached.values.iter().flat_map(|value| spellings(value)))
        .map_err(|_| Failure::new("too many values to look for"))?;
    let mut bytes_count = 0;
    let mut found = 0;
    for file in &files {
        // Files come and go while the exchange works.
        let Ok(bytes) = std::fs::read(file) else { continue };
        bytes_count += bytes.len();
        found += search.find_iter(&bytes).count();
    }
    let megabytes = bytes_count / 1_000_000;
    story
        .tell("attacker", format!("copies the data folder: {} files, {megabytes} MB", files.len()));
    if found > 0 {
        story.fail(format!("{found} values stand readable in the stolen folder"));
    } else {
        story.tell(
            "holdfast",
            format!(
                "has nothing readable in it: none of {} values that left by the doors",
                reached.values.len()
            ),
        );
    }
    Ok(())
}

fn collect(dir: &Path, files: &mut Vec<std::path::PathBuf>) -> Result<(), Failure> {
    for entry in std::fs::read_dir(dir).map_err(|error| Failure::io("read", dir, &error))? {
        let Ok(entry) = entry else { continue };
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => collect(&entry.path(), files)?,
            Ok(kind) if kind.is_file() => files.push(entry.path()),
            _ => {}
        }
    }
    Ok(())
}

/// The text as it is, and as UTF-16.
fn spellings(text: &str) -> [Vec<u8>; 2] {
    [text.as_bytes().to_vec(), text.encode_utf16().flat_map(u16::to_le_bytes).collect()]
}
