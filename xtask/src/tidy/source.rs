//! Rust source as the checks see it: its text, and its code with comments and
//! the contents of literals blanked out. Lines and columns stay where they are.

use std::ops::Range;

/// One source file.
pub struct Source {
    /// Path from the workspace, with `/`.
    pub path: String,
    /// The file.
    pub text: String,
    /// The file with comments, strings and characters replaced by blanks.
    pub code: String,
    /// Where the string literals stand in `text`, without their quotes.
    pub strings: Vec<Range<usize>>,
}

impl Source {
    /// Takes a file apart.
    pub fn new(path: impl Into<String>, text: impl Into<String>) -> Self {
        let text = text.into();
        let (code, strings) = blank(&text);
        Self { path: path.into(), text, code, strings }
    }

    /// The number of the line that holds byte `offset`, from 1.
    pub fn line_of(&self, offset: usize) -> usize {
        self.text.as_bytes().iter().take(offset).filter(|byte| **byte == b'\n').count() + 1
    }

    /// Line `number` (from 1) as it was written.
    pub fn line(&self, number: usize) -> &str {
        self.text.lines().nth(number.wrapping_sub(1)).unwrap_or_default()
    }

    /// Whether the whole file is test, bench or example code.
    pub fn is_test_file(&self) -> bool {
        let folder = |name: &str| self.path.split('/').any(|part| part == name);
        folder("tests")
            || folder("benches")
            || folder("examples")
            || self.path.ends_with("/tests.rs")
            || self.path.ends_with("/testing.rs")
    }

    /// The code without what follows `#[cfg(test)]`: that item is blanked too.
    pub fn production_code(&self) -> String {
        let mut code = self.code.clone().into_bytes();
        let mut from = 0;
        while let Some(found) = find(&code, b"#[cfg(test)]", from) {
            let end = item_end(&code, found + b"#[cfg(test)]".len());
            blank_range(&mut code, found..end);
            from = end;
        }
        String::from_utf8_lossy(&code).into_owned()
    }
}

/// Where the item that begins at `from` ends: after its `;`, or after the brace
/// that closes its first one.
fn item_end(code: &[u8], from: usize) -> usize {
    let mut depth = 0_usize;
    for (at, byte) in code.iter().enumerate().skip(from) {
        match byte {
            b'{' => depth += 1,
            b'}' if depth <= 1 => return at + 1,
            b'}' => depth -= 1,
            b';' if depth == 0 => return at + 1,
            _ => {}
        }
    }
    code.len()
}

fn find(bytes: &[u8], needle: &[u8], from: usize) -> Option<usize> {
    let rest = bytes.get(from..)?;
    rest.windows(needle.len()).position(|window| window == needle).map(|at| at + from)
}

fn blank_range(bytes: &mut [u8], range: Range<usize>) {
    for byte in bytes.iter_mut().take(range.end).skip(range.start) {
        if *byte != b'\n' {
            *byte = b' ';
        }
    }
}

/// Blanks comments and literals. Not a full lexer: it knows line and nested block
/// comments, strings (raw, byte and C ones too), characters and lifetimes.
fn blank(text: &str) -> (String, Vec<Range<usize>>) {
    let bytes = text.as_bytes();
    let mut code = bytes.to_vec();
    let mut strings = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        let end = if rest.starts_with(b"//") {
            at + rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len())
        } else if rest.starts_with(b"/*") {
            at + block_comment(rest)
        } else if let Some(hashes) = raw_string(bytes, at) {
            let open = at + 2 + hashes;
            let close = [&b"\""[..], &b"#".repeat(hashes)].concat();
            let end = find(bytes, &close, open).unwrap_or(bytes.len());
            strings.push(open..end);
            (end + close.len()).min(bytes.len())
        } else if rest.starts_with(b"\"") {
            let end = at + 1 + closing(&rest[1..], b'"');
            strings.push(at + 1..end);
            (end + 1).min(bytes.len())
        } else if let Some(length) = character(rest) {
            at + length
        } else {
            at += 1;
            continue;
        };
        blank_range(&mut code, at..end);
        at = end.max(at + 1);
    }
    (String::from_utf8_lossy(&code).into_owned(), strings)
}

fn block_comment(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < rest.len() {
        if rest[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    at
}

/// The number of hashes when a raw string begins at `at` (`r"`, `r#"`; the `b` or
/// `c` before it is code that does no harm).
fn raw_string(bytes: &[u8], at: usize) -> Option<usize> {
    let before = at.checked_sub(1).map(|before| bytes[before]);
    let joined = before.is_some_and(|byte| {
        (byte.is_ascii_alphanumeric() || byte == b'_') && !matches!(byte, b'b' | b'c')
    });
    if bytes[at] != b'r' || joined {
        return None;
    }
    let hashes = bytes[at + 1..].iter().take_while(|byte| **byte == b'#').count();
    (bytes.get(at + 1 + hashes) == Some(&b'"')).then_some(hashes)
}

/// The place of the closing quote, escapes passed over.
fn closing(rest: &[u8], quote: u8) -> usize {
    let mut at = 0;
    while at < rest.len() && rest[at] != quote {
        at += if rest[at] == b'\\' { 2 } else { 1 };
    }
    at.min(rest.len())
}

/// The length of the character literal at the start of `rest`; nothing when there
/// is none, or when the quote begins a lifetime.
fn character(rest: &[u8]) -> Option<usize> {
    if rest.first() != Some(&b'\'') {
        return None;
    }
    if rest.get(1) == Some(&b'\\') {
        let after = rest.get(3..).unwrap_or_default();
        return Some((3 + closing(after, b'\'') + 1).min(rest.len()));
    }
    let width = match rest.get(1) {
        Some(lead) if *lead >= 0xF0 => 4,
        Some(lead) if *lead >= 0xE0 => 3,
        Some(lead) if *lead >= 0xC0 => 2,
        _ => 1,
    };
    (rest.get(1 + width) == Some(&b'\'')).then_some(2 + width)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, code: &str) {
        assert_eq!(Source::new("a.rs", text).code, code);
    }

    #[test]
    fn comments_and_literals_are_blanked_and_nothing_else() {
        check("a // b\nc", "a     \nc");
        check("a /* /* b */ */ c", &format!("a{}c", " ".repeat(15)));
        check(r#"f("x // y", 1)"#, "f(        , 1)");
        check(r##"f(r#"a " b"#, 2)"##, "f(          , 2)");
        check(r#"f("a\"b", 'c', '\'', '\\')"#, "f(      ,    ,     ,     )");
        check("fn f<'a>(x: &'a str) {}", "fn f<'a>(x: &'a str) {}");
        check("let crab = 'é'; now", "let crab =     ; now");
    }

    #[test]
    fn the_strings_are_found_without_their_quotes() {
        let source = Source::new("a.rs", "f(\"one\", r#\"two\"#) // \"three\"");
        let found: Vec<&str> = source.strings.iter().map(|at| &source.text[at.clone()]).collect();
        assert_eq!(found, ["one", "two"]);
    }

    #[test]
    fn test_code_is_no_production_code() {
        let source = Source::new("a.rs", "live();\n#[cfg(test)]\nmod tests { a { } }\nalso();");
        let code = source.production_code();
        assert!(code.contains("live") && code.contains("also") && !code.contains("tests"));
        let source = Source::new("a.rs", "#[cfg(test)]\nmod testing;\nlive();");
        assert!(source.production_code().contains("live"));
    }
}
