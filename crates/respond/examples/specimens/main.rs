//! Writes the drafts of a made-up incident, for looking at:
//! `cargo run -p holdfast-respond --example specimens -- DIR`.

use std::{error::Error, fs, path::PathBuf};

#[allow(dead_code, reason = "shared with tests that use more of it")]
mod community;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = PathBuf::from(std::env::args_os().nth(1).ok_or("give a folder to write to")?);
    let made = community::community();
    let files = holdfast_respond::draft(
        &made.incident,
        &made.scope,
        &made.persons,
        &made.organizations,
        &made.letterhead,
    )?;
    for file in files {
        let path = folder.join(&file.path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&path, &file.bytes)?;
        println!("{}", path.display());
    }
    Ok(())
}
