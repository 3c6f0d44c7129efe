//! Text to tokens.

use super::CompileError;
use super::number::Number;
use super::temporal::{Temporal, TemporalKind};

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    /// A name; whether it was quoted, so that it is no keyword.
    Name(String, bool),
    Variable(String),
    /// `$this`, `$index`, `$total`
    Special(&'static str),
    Text(String),
    Integer(i64),
    Decimal(Number),
    Temporal(Temporal),
    Symbol(&'static str),
    End,
}

/// The longest first.
const SYMBOLS: [&str; 24] = [
    "<=", ">=", "!=", "!~", "(", ")", "[", "]", "{", "}", ".", ",", "|", "=", "~", "<", ">", "+",
    "-", "*", "/", "&", "?", ";",
];
const SPECIALS: [&str; 3] = ["$this", "$index", "$total"];

/// The tokens with the bytes where they begin.
pub(super) fn tokens(text: &str) -> Result<Vec<(usize, Token)>, CompileError> {
    let mut lexer = Lexer { text, at: 0 };
    let mut found = Vec::new();
    loop {
        lexer.skip_space()?;
        let start = lexer.at;
        let token = lexer.token()?;
        let is_end = token == Token::End;
        found.push((start, token));
        if is_end {
            return Ok(found);
        }
    }
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
}

fn is_name_start(c: char) -> bool {
    c.is_ascii_alphabetic() || c == '_'
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn fail<T>(&self, expected: &'static str) -> Result<T, CompileError> {
        Err(CompileError { offset: self.at, expected })
    }

    fn skip_space(&mut self) -> Result<(), CompileError> {
        loop {
            let rest = self.rest();
            self.at += rest.len() - rest.trim_start().len();
            let rest = self.rest();
            if rest.starts_with("//") {
                self.at += rest.find(['\n', '\r']).unwrap_or(rest.len());
            } else if rest.starts_with("/*") {
                match rest.find("*/") {
                    Some(end) => self.at += end + 2,
                    None => return self.fail("end of comment"),
                }
            } else {
                return Ok(());
            }
        }
    }

    /// Takes characters as long as they fit.
    fn run(&mut self, fits: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|c: char| !fits(c)).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    fn word(&mut self) -> &'a str {
        self.run(|c| c.is_ascii_alphanumeric() || c == '_')
    }

    fn token(&mut self) -> Result<Token, CompileError> {
        let rest = self.rest();
        let Some(first) = rest.chars().next() else { return Ok(Token::End) };
        match first {
            '\'' => self.quoted('\'').map(Token::Text),
            '`' | '"' => self.quoted(first).map(|name| Token::Name(name, true)),
            '%' => {
                self.at += 1;
                match self.rest().chars().next() {
                    Some(quote @ ('`' | '"' | '\'')) => self.quoted(quote).map(Token::Variable),
                    Some(c) if is_name_start(c) => {
                        // `%vs-name` and `%ext-name` are written without quotes, too.
                        let name = self.run(|c| c.is_ascii_alphanumeric() || c == '_');
                        let mut name = name.to_owned();
                        if matches!(name.as_str(), "vs" | "ext") && self.rest().starts_with('-') {
                            name += self.run(|c| c.is_ascii_alphanumeric() || c == '-');
                        }
                        Ok(Token::Variable(name))
                    }
                    _ => self.fail("name of a variable"),
                }
            }
            '$' => match SPECIALS.into_iter().find(|name| rest.starts_with(name)) {
                Some(name) => {
                    self.at += name.len();
                    Ok(Token::Special(name))
                }
                None => self.fail("$this, $index or $total"),
            },
            '@' => self.temporal(),
            c if c.is_ascii_digit() => self.number(),
            c if is_name_start(c) => Ok(Token::Name(self.word().to_owned(), false)),
            _ => match SYMBOLS.into_iter().find(|symbol| rest.starts_with(symbol)) {
                Some(symbol) => {
                    self.at += symbol.len();
                    Ok(Token::Symbol(symbol))
                }
                None => self.fail("expression"),
            },
        }
    }

    fn number(&mut self) -> Result<Token, CompileError> {
        let start = self.at;
        self.run(|c| c.is_ascii_digit());
        let after = self.rest().strip_prefix('.');
        if after.is_some_and(|after| after.starts_with(|c: char| c.is_ascii_digit())) {
            self.at += 1;
            self.run(|c| c.is_ascii_digit());
            let number = Number::parse(&self.text[start..self.at]);
            return number.map_or_else(
                || self.fail("number of at most 38 digits"),
                |n| Ok(Token::Decimal(n)),
            );
        }
        match self.text[start..self.at].parse() {
            Ok(number) => Ok(Token::Integer(number)),
            Err(_) => self.fail("whole number that fits"),
        }
    }

    fn temporal(&mut self) -> Result<Token, CompileError> {
        self.at += 1;
        let rest = self.rest();
        let bytes = rest.as_bytes();
        let digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
        let digits = |from: usize, count: usize| (from..from + count).all(digit);
        let is = |at: usize, byte: u8| bytes.get(at) == Some(&byte);
        // How long a clock beginning at `from` is.
        let clock = |from: usize| {
            let mut end = from;
            if digits(end, 2) {
                end += 2;
                for _ in 0..2 {
                    if is(end, b':') && digits(end + 1, 2) {
                        end += 3;
                    }
                }
                if end == from + 8 && is(end, b'.') && digit(end + 1) {
                    end += 1 + bytes[end + 1..]
                        .iter()
                        .take_while(|byte| byte.is_ascii_digit())
                        .count();
                }
            }
            end
        };
        let (kind, mut end) = if is(0, b'T') {
            (TemporalKind::Time, clock(1))
        } else {
            let mut end = 4;
            for _ in 0..2 {
                if is(end, b'-') && digits(end + 1, 2) {
                    end += 3;
                }
            }
            (TemporalKind::Date, end)
        };
        let found = if kind == TemporalKind::Time {
            rest.get(1..end).and_then(|text| Temporal::parse(kind, text))
        } else if is(end, b'T') {
            let dated = end;
            end = clock(dated + 1);
            if end > dated + 1 {
                if is(end, b'Z') {
                    end += 1;
                } else if (is(end, b'+') || is(end, b'-'))
                    && digits(end + 1, 2)
                    && is(end + 3, b':')
                {
                    end += 6;
                }
            }
            // `@2015T` is a DateTime of that precision.
            let text = rest.get(..end).map(|text| text.strip_suffix('T').unwrap_or(text));
            text.and_then(|text| Temporal::parse(TemporalKind::DateTime, text))
        } else {
            rest.get(..end).and_then(|text| Temporal::parse(kind, text))
        };
        let Some(found) = found else { return self.fail("date or time") };
        self.at += end;
        if self.rest().starts_with(|c: char| c.is_ascii_alphanumeric()) {
            return self.fail("end of date or time");
        }
        Ok(Token::Temporal(found))
    }

    fn quoted(&mut self, quote: char) -> Result<String, CompileError> {
        self.at += 1;
        let mut text = String::new();
        let mut letters = self.rest().char_indices();
        while let Some((at, c)) = letters.next() {
            if c == quote {
                self.at += at + 1;
                return Ok(text);
            }
            if c != '\\' {
                text.push(c);
                continue;
            }
            match letters.next() {
                Some((_, 'r')) => text.push('\r'),
                Some((_, 'n')) => text.push('\n'),
                Some((_, 't')) => text.push('\t'),
                Some((_, 'f')) => text.push('\u{c}'),
                Some((at, 'u')) => {
                    let code = self.rest().get(at + 1..at + 5);
                    let code = code.and_then(|code| u32::from_str_radix(code, 16).ok());
                    let Some(code) = code else { return self.fail("four hexadecimal digits") };
                    // Half of a pair stands for nothing by itself.
                    text.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
                    letters.nth(3);
                }
                Some((_, other)) => text.push(other),
                None => break,
            }
        }
        self.fail("closing quote")
    }
}
