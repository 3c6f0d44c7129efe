//! What stands on paper: text extracted from the PDFs by another program.
#![allow(clippy::unwrap_used)]

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use holdfast_respond::{OutputFile, draft};

#[allow(dead_code, reason = "shared with other tests that use more of it")]
#[path = "../examples/specimens/community.rs"]
mod community;

fn files() -> &'static [OutputFile] {
    static FILES: std::sync::LazyLock<Vec<OutputFile>> = std::sync::LazyLock::new(made);
    &FILES
}

fn made() -> Vec<OutputFile> {
    let made = community::community();
    draft(&made.incident, &made.scope, &made.persons, &made.organizations, &made.letterhead)
        .unwrap()
}

fn file<'a>(files: &'a [OutputFile], path: &str) -> &'a [u8] {
    &files.iter().find(|file| file.path == path).unwrap().bytes
}

/// Runs pdftotext over `pdf` in memory; `None`, with a printed line, where it
/// is not installed.
fn pdftotext(pdf: &[u8], options: &[&str]) -> Option<String> {
    let child = Command::new("pdftotext")
        .args(options)
        .args(["-enc", "UTF-8", "-", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let Ok(mut child) = child else {
        println!("skipped: pdftotext (poppler-utils) is not installed");
        return None;
    };
    child.stdin.take().unwrap().write_all(pdf).unwrap();
    let output = child.wait_with_output().unwrap();
    Some(String::from_utf8(output.stdout).unwrap())
}

/// One line, single blanks, plain apostrophes.
fn plain(text: &str) -> String {
    text.replace('\u{2019}', "'").split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn every_file_is_there_under_a_safe_path() {
    let files = files();
    let paths: Vec<&str> = files.iter().map(|file| file.path.as_str()).collect();
    for path in [
        "clients/lakeside-family/persons.csv",
        "clients/lakeside-family/notice.pdf",
        "clients/mercy-ridge/persons.csv",
        "clients/mercy-ridge/notice.pdf",
        "letters/IN/00001.pdf",
        "letters/IN/00002.pdf",
        "letters/IN/00003.pdf",
        "letters/CA/00001.pdf",
        "letters/CA/00002.pdf",
        "letters/MA/00001.pdf",
        "letters/MA/00002.pdf",
        "letters/OH/00001.pdf",
        "deadlines.csv",
        "deadlines.txt",
        "index.txt",
    ] {
        assert!(paths.contains(&path), "{path} in {paths:?}");
    }
    assert_eq!(paths.len(), 15);
}

#[test]
fn the_same_draft_gives_the_same_bytes() {
    assert!(files() == made());
}

#[test]
fn pdfs_are_tagged_titled_and_have_their_fonts_within() {
    for file in files().iter().filter(|file| file.path.ends_with(".pdf")) {
        assert!(file.bytes.starts_with(b"%PDF-1.7"), "{}", file.path);
        let text = String::from_utf8_lossy(&file.bytes);
        for mark in ["/StructTreeRoot", "pdfuaid:part", "/FontFile3", "/Lang", "/Outlines"] {
            assert!(text.contains(mark), "{}: {mark}", file.path);
        }
        assert!(file.bytes.len() < 150_000, "{}: fonts are subset", file.path);
    }
}

#[test]
fn the_words_on_paper_are_those_that_were_composed() {
    let files = files();
    let Some(text) = pdftotext(file(files, "letters/CA/00001.pdf"), &[]) else { return };
    let text = plain(&text);
    for words in [
        "Notice of Data Breach",
        "Marisol Vega-Ortiz",
        "Long Beach, CA 90802-4417",
        "Sent by Wabash Valley Health Exchange on behalf of Lakeside Family Practice",
        "What Information Was Involved",
        "Government numbers: Social Security number, and the driver's license or passport number",
        "12 months of credit monitoring",
        "Reference HF-000007",
        "Page 1 of 2",
        "Page 2 of 2",
    ] {
        assert!(text.contains(words), "{words:?} in {text}");
    }
    let massachusetts = plain(&pdftotext(file(files, "letters/MA/00001.pdf"), &[]).unwrap());
    assert!(massachusetts.contains("you have the right to obtain any police report"));
    assert!(!massachusetts.contains("account on its system"));
    let names = plain(&pdftotext(file(files, "letters/IN/00002.pdf"), &[]).unwrap());
    assert!(names.contains("Dear Zoë Müller-Łukasz:"), "{names}");
}

#[test]
fn the_window_shows_the_address_and_nothing_else() {
    let files = files();
    for file in files.iter().filter(|file| file.path.ends_with(".pdf")) {
        // Everything that can ever show: 2.04 to 3.625 inches from the top, up
        // to 5.375 from the left, in points.
        let crop =
            ["-f", "1", "-l", "1", "-x", "0", "-y", "147", "-W", "387", "-H", "114", "-r", "72"];
        let Some(text) = pdftotext(&file.bytes, &crop) else { return };
        let lines: Vec<&str> = text.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
        assert!((3..=5).contains(&lines.len()), "{}: {lines:?}", file.path);
        let last = lines.last().unwrap();
        assert!(last.ends_with(|c: char| c.is_ascii_digit()), "ends with the ZIP code: {lines:?}");
        // And what always shows has all of it, but for ascenders of the first line.
        let always =
            ["-f", "1", "-l", "1", "-x", "63", "-y", "170", "-W", "252", "-H", "60", "-r", "72"];
        let shown = pdftotext(&file.bytes, &always).unwrap();
        for line in &lines {
            assert!(shown.contains(line), "{}: {line} in {shown}", file.path);
        }
    }
}

#[test]
fn no_type_is_smaller_than_ten_points() {
    let files = files();
    for path in ["letters/CA/00001.pdf", "letters/CA/00002.pdf"] {
        let Some(html) = pdftotext(file(files, path), &["-bbox"]) else { return };
        // The box of a word is ascent plus descent; a 10-point line of this
        // typeface is more than 9 points high.
        let value = |line: &str, name: &str| -> Option<f64> {
            line.split(&format!("{name}=\"")).nth(1)?.split('"').next()?.parse().ok()
        };
        let mut words = 0;
        for line in html.lines().filter(|line| line.contains("<word")) {
            let height = value(line, "yMax").unwrap() - value(line, "yMin").unwrap();
            assert!(height > 9.0, "{line}");
            words += 1;
        }
        assert!(words > 200);
    }
}
