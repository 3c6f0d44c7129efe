//! Lines of `strace -f -xx`, read.

use std::collections::HashMap;
use std::io::BufRead;

/// One finished call.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) thread: u32,
    pub(crate) name: String,
    pub(crate) arguments: Vec<String>,
    /// What it gave; `None` when it failed.
    pub(crate) result: Option<i64>,
    /// Where its line ends in the recording.
    pub(crate) ends: u64,
}

/// A call that began, for those that count from then on.
pub(crate) enum Line {
    Began(Call),
    Done(Call),
}

/// Puts together what strace wrote on two lines because another thread came between.
#[derive(Default)]
pub(crate) struct Reader {
    unfinished: HashMap<u32, String>,
    offset: u64,
}

impl Reader {
    /// The next line that is a call; `None` at the end.
    pub(crate) fn next(&mut self, input: &mut dyn BufRead) -> Option<Line> {
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = input.read_until(b'\n', &mut line).expect("the recording is read");
            // A line without an end was being written when the recorder was killed.
            if read == 0 || line.last() != Some(&b'\n') {
                return None;
            }
            self.offset += read as u64;
            let text = std::str::from_utf8(&line).expect("the recording is ASCII").trim_end();
            if let Some(found) = self.line(text) {
                return Some(found);
            }
        }
    }

    fn line(&mut self, text: &str) -> Option<Line> {
        let (thread, text) = text.split_once(' ')?;
        let thread = thread.parse().expect("a line begins with a thread");
        let text = text.trim_start();
        if text.starts_with("+++") || text.starts_with("---") {
            return None;
        }
        if let Some(begun) = text.strip_suffix(" <unfinished ...>") {
            self.unfinished.insert(thread, begun.to_owned());
            return self.parse(thread, begun).map(Line::Began);
        }
        if let Some(rest) = text.strip_prefix("<... ") {
            let (_, rest) = rest.split_once(" resumed>").expect("a resumed call");
            let begun = self.unfinished.remove(&thread)?;
            return self.parse(thread, &format!("{begun}{rest}")).map(Line::Done);
        }
        self.parse(thread, text).map(Line::Done)
    }

    fn parse(&self, thread: u32, text: &str) -> Option<Call> {
        let (name, rest) = text.split_once('(')?;
        let (arguments, rest) = arguments(rest);
        let result = rest.trim_start().strip_prefix("= ").map(str::trim_start);
        let result = result.and_then(|text| {
            let word = text.split(' ').next()?;
            match word.strip_prefix("0x") {
                Some(hex) => i64::from_str_radix(hex, 16).ok(),
                None => word.parse::<i64>().ok().filter(|number| *number >= 0),
            }
        });
        Some(Call { thread, name: name.to_owned(), arguments, result, ends: self.offset })
    }
}

/// Splits at commas that stand in no string and no bracket; gives what follows the
/// closing parenthesis as well.
fn arguments(text: &str) -> (Vec<String>, &str) {
    let bytes = text.as_bytes();
    let (mut found, mut depth, mut start, mut at) = (Vec::new(), 0, 0, 0);
    while at < bytes.len() {
        match bytes[at] {
            // A string has nothing but `\x..` in it.
            b'"' => at += 1 + text[at + 1..].find('"').expect("a string ends"),
            b'[' | b'{' | b'(' => depth += 1,
            b')' if depth == 0 => {
                found.push(text[start..at].trim().to_owned());
                return (found, &text[at + 1..]);
            }
            b']' | b'}' | b')' => depth -= 1,
            b',' if depth == 0 => {
                found.push(text[start..at].trim().to_owned());
                start = at + 1;
            }
            _ => {}
        }
        at += 1;
    }
    found.push(text[start..].trim().trim_end_matches(',').to_owned());
    (found, "")
}

/// The bytes of the string that `text` begins with.
pub(crate) fn string(text: &str) -> Vec<u8> {
    let inner = text.strip_prefix('"').expect("a string");
    let end = inner.find('"').expect("a string ends");
    assert!(!inner[end + 1..].starts_with("..."), "the recording is cut short");
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => byte - b'0',
        b'a'..=b'f' => byte - b'a' + 10,
        _ => panic!("the recording has strings of another form"),
    };
    let pairs = inner.as_bytes()[..end].chunks_exact(4);
    pairs.map(|four| digit(four[2]) << 4 | digit(four[3])).collect()
}

/// The bytes of all strings in an argument of `writev`, one after the other.
pub(crate) fn strings(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for part in text.split("iov_base=").skip(1) {
        bytes.extend(string(part));
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_read_whole_or_put_together_from_two_lines() {
        let text = "7 openat(AT_FDCWD, \"\\x2f\\x61\", O_RDWR|O_CREAT, 0666) = 3\n\
                    7 fsync(3 <unfinished ...>\n\
                    8 clone3({flags=CLONE_VM|CLONE_THREAD, stack=0x7f}, 88) = 9\n\
                    7 <... fsync resumed>)                = 0\n\
                    9 writev(3, [{iov_base=\"\\x01\\x02\", iov_len=2}, {iov_base=\"\\xff\", iov_len=1}], 2) = 3\n\
                    9 openat(AT_FDCWD, \"\\x2f\", O_RDONLY) = -1 ENOENT (No such file or directory)\n\
                    9 +++ exited with 0 +++\n\
                    9 write(3, \"\\x01";
        let (mut reader, mut input) = (Reader::default(), text.as_bytes());
        let mut done = Vec::new();
        let mut began = 0;
        while let Some(line) = reader.next(&mut input) {
            match line {
                Line::Began(call) => began += usize::from(call.name == "fsync"),
                Line::Done(call) => done.push(call),
            }
        }
        assert_eq!(began, 1);
        let names: Vec<_> = done.iter().map(|call| call.name.as_str()).collect();
        assert_eq!(names, ["openat", "clone3", "fsync", "writev", "openat"]);
        assert_eq!(string(&done[0].arguments[1]), b"/a");
        assert_eq!(done[2].arguments, ["3"]);
        assert_eq!(strings(&done[3].arguments[1]), [1, 2, 255]);
        assert_eq!(done[3].result, Some(3));
        assert_eq!(done[4].result, None);
    }
}
