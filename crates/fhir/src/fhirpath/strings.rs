//! Functions over texts (N1, section 5.6), counted in characters.

use std::borrow::Cow;

use data_encoding::{BASE64, BASE64URL, HEXLOWER, HEXLOWER_PERMISSIVE};

use super::EvaluateError;
use super::evaluate::{Evaluator, Items, Outcome, Scope};
use super::expr::{Expr, Function, Pattern};
use super::item::Item;
use super::operators::TEXT_BYTES_MAX;
use super::parse::pattern;

impl<'a> Evaluator<'a, '_> {
    pub(super) fn string_function(
        &self,
        function: Function,
        input: &[Item<'a>],
        arguments: &'a [Expr],
        scope: Scope<'a, '_>,
        out: &mut Items<'a>,
    ) -> Outcome {
        use Function::*;
        let wrong = || EvaluateError::WrongType { operation: function.name() };
        if function == Join {
            let separator = self.text_of(arguments, 0, scope)?.unwrap_or_default();
            let texts: Option<Vec<Cow<'a, str>>> = input.iter().map(Item::text).collect();
            let texts = texts.ok_or_else(wrong)?;
            let length: usize = texts.iter().map(|text| text.len() + separator.len()).sum();
            if length > TEXT_BYTES_MAX {
                return Err(EvaluateError::TooMuchWork);
            }
            return if input.is_empty() {
                Ok(())
            } else {
                self.push_text(texts.join(&*separator), out)
            };
        }
        let Some(item) = self.single(input, function.name())? else { return Ok(()) };
        let text = item.text().ok_or_else(wrong)?;
        self.charge(text.len() / 64)?;
        if matches!(function, Upper | Lower | Length | ToChars | Trim) {
            match function {
                Upper => self.push_text(text.to_uppercase(), out)?,
                Lower => self.push_text(text.to_lowercase(), out)?,
                Length => out.push(Item::Integer(text.chars().count() as i64)),
                Trim => self.push_text(text.trim().to_owned(), out)?,
                _ => {
                    self.charge(text.len())?;
                    out.extend(text.chars().map(|c| Item::Text(Cow::Owned(c.to_string()))));
                }
            }
            return Ok(());
        }
        if matches!(function, Matches | MatchesFull | ReplaceMatches) {
            return self.by_pattern(function, &text, arguments, scope, out);
        }
        if function == Substring {
            let Some(start) = self.integer_of(arguments, 0, scope)? else { return Ok(()) };
            let length = self.integer_of(arguments, 1, scope)?;
            let length = length.map(|length| usize::try_from(length.max(0)).unwrap_or(usize::MAX));
            let Ok(start) = usize::try_from(start) else { return Ok(()) };
            let mut letters = text.chars().skip(start).peekable();
            if letters.peek().is_some() {
                self.push_text(letters.take(length.unwrap_or(usize::MAX)).collect(), out)?;
            }
            return Ok(());
        }
        let Some(argument) = self.text_of(arguments, 0, scope)? else { return Ok(()) };
        let characters = |bytes: Option<usize>| {
            Item::Integer(bytes.map_or(-1, |bytes| text[..bytes].chars().count() as i64))
        };
        match function {
            IndexOf => out.push(characters(text.find(&*argument))),
            LastIndexOf => out.push(characters(text.rfind(&*argument))),
            StartsWith => out.push(Item::Boolean(text.starts_with(&*argument))),
            EndsWith => out.push(Item::Boolean(text.ends_with(&*argument))),
            Contains => out.push(Item::Boolean(text.contains(&*argument))),
            Split => {
                let parts: Vec<&str> = text.split(&*argument).collect();
                self.charge(parts.len())?;
                out.extend(parts.into_iter().map(|part| Item::Text(Cow::Owned(part.to_owned()))));
            }
            Replace => {
                let Some(by) = self.text_of(arguments, 1, scope)? else { return Ok(()) };
                let places = if argument.is_empty() {
                    text.chars().count() + 1
                } else {
                    text.matches(&*argument).count()
                };
                if places.saturating_mul(by.len()) > TEXT_BYTES_MAX {
                    return Err(EvaluateError::TooMuchWork);
                }
                self.push_text(text.replace(&*argument, &by), out)?;
            }
            _ => {
                let coded =
                    coded(function, &text, &argument).map_err(|()| EvaluateError::UnknownName {
                        operation: function.name(),
                        name: argument.into_owned(),
                    })?;
                if let Some(coded) = coded {
                    self.push_text(coded, out)?;
                }
            }
        }
        Ok(())
    }

    fn by_pattern(
        &self,
        function: Function,
        text: &str,
        arguments: &'a [Expr],
        scope: Scope<'a, '_>,
        out: &mut Items<'a>,
    ) -> Outcome {
        let made: Pattern;
        let compiled = match arguments.first() {
            Some(Expr::Text(_, Some(compiled))) => &**compiled,
            _ => {
                let Some(written) = self.text_of(arguments, 0, scope)? else { return Ok(()) };
                // Compiling costs far more than a step.
                self.charge(1000 + written.len())?;
                made = pattern(&written).ok_or(EvaluateError::Pattern)?;
                &made
            }
        };
        match function {
            Function::Matches => out.push(Item::Boolean(compiled.anywhere.is_match(text))),
            Function::MatchesFull => out.push(Item::Boolean(compiled.whole.is_match(text))),
            _ => {
                let Some(by) = self.text_of(arguments, 1, scope)? else { return Ok(()) };
                if compiled.anywhere.as_str().is_empty() {
                    return self.push_text(text.to_owned(), out);
                }
                let count = compiled.anywhere.find_iter(text).count();
                if count.saturating_mul(by.len().saturating_add(text.len())) > TEXT_BYTES_MAX {
                    return Err(EvaluateError::TooMuchWork);
                }
                let replaced = compiled.anywhere.replace_all(text, braced(&by));
                self.push_text(replaced.into_owned(), out)?;
            }
        }
        Ok(())
    }
}

/// `$1` as `${1}`: a letter that follows is no part of the number.
fn braced(by: &str) -> String {
    let mut text = String::new();
    let mut rest = by;
    while let Some(at) = rest.find('$') {
        text += &rest[..=at];
        rest = &rest[at + 1..];
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        if digits > 0 {
            text += &format!("{{{}}}", &rest[..digits]);
            rest = &rest[digits..];
        }
    }
    text + rest
}

const ENTITIES: [(&str, &str); 5] =
    [("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("\"", "&quot;"), ("'", "&#39;")];

/// `encode decode escape unescape`; nothing for what cannot be decoded.
fn coded(function: Function, text: &str, format: &str) -> Result<Option<String>, ()> {
    use Function::{Decode, Encode, Escape, Unescape};
    let decoded =
        |bytes: Result<Vec<u8>, _>| bytes.ok().and_then(|bytes| String::from_utf8(bytes).ok());
    Ok(match (function, format) {
        (Encode, "hex") => Some(HEXLOWER.encode(text.as_bytes())),
        (Encode, "base64") => Some(BASE64.encode(text.as_bytes())),
        (Encode, "urlbase64") => Some(BASE64URL.encode(text.as_bytes())),
        (Decode, "hex") => decoded(HEXLOWER_PERMISSIVE.decode(text.as_bytes())),
        (Decode, "base64") => decoded(BASE64.decode(text.as_bytes())),
        (Decode, "urlbase64") => decoded(BASE64URL.decode(text.as_bytes())),
        (Escape, "html") => Some(
            ENTITIES
                .iter()
                .fold(text.to_owned(), |text, (plain, entity)| text.replace(plain, entity)),
        ),
        (Unescape, "html") => Some(
            ENTITIES
                .iter()
                .rev()
                .fold(text.to_owned(), |text, (plain, entity)| text.replace(entity, plain)),
        ),
        (Escape, "json") => {
            let quoted = serde_json::Value::String(text.to_owned()).to_string();
            quoted.get(1..quoted.len() - 1).map(str::to_owned)
        }
        (Unescape, "json") => match serde_json::from_str(&format!("\"{text}\"")) {
            Ok(text) => Some(text),
            // A text whose quotes are not escaped is taken as it stands.
            Err(_) => Some(text.replace("\\\"", "\"")),
        },
        _ => return Err(()),
    })
}
