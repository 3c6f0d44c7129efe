//! `_filter` (search_filter.html): a sentence of conditions.
//!
//! ```text
//! filter = term *( ("and" / "or") term )        read from left to right
//! term   = "(" filter ")" / "not" "(" filter ")" / path operator value
//! path   = parameter *( "." parameter )
//! ```
//! Filters on parts of a parameter (`name[use eq official].given`) are refused.

use super::decimal::Decimal;
use super::link::Link;
use super::normal::normalise;
use super::parse::{Problem, SearchContext, chain_to, parameter_of, shown, unsupported};
use super::query::{Condition, Test, Wanted};
use super::value;
use crate::definitions::{ParameterKind, SearchParameter};
use crate::outcome::Issue;

/// Words and signs in one filter, and parentheses within each other.
const WORDS_MAX: usize = 200;
const NESTED_MAX: usize = 16;

#[derive(Debug, Clone, PartialEq)]
enum Word {
    Open,
    Close,
    /// A name, operator or bare value.
    Bare(String),
    /// A value in quotes.
    Quoted(String),
}

fn wrong(what: &str) -> Problem {
    let text = format!("search parameter `_filter`: {what}");
    Problem::Fatal(Issue::error("value", "_filter", text))
}

/// The condition of a filter.
pub(super) fn condition(
    context: &SearchContext<'_>,
    resource_type: &'static str,
    text: &str,
    depth: usize,
) -> Result<Condition, Problem> {
    let words = words(text)?;
    let mut reader = Reader { context, resource_type, depth, words: &words, at: 0 };
    let condition = reader.filter(0)?;
    if reader.at < words.len() {
        return Err(wrong("`and`, `or` or the end is expected"));
    }
    Ok(condition)
}

fn words(text: &str) -> Result<Vec<Word>, Problem> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        if words.len() >= WORDS_MAX {
            return Err(wrong("too long"));
        }
        match first {
            '(' | ')' => {
                words.push(if first == '(' { Word::Open } else { Word::Close });
                rest = &rest[1..];
            }
            '"' => {
                let (mut value, mut escaped, mut end) = (String::new(), false, None);
                for (at, c) in rest[1..].char_indices() {
                    match c {
                        _ if escaped => {
                            value.push(c);
                            escaped = false;
                        }
                        '\\' => escaped = true,
                        '"' => {
                            end = Some(at);
                            break;
                        }
                        _ => value.push(c),
                    }
                }
                let end = end.ok_or_else(|| wrong("a quote does not end"))?;
                words.push(Word::Quoted(value));
                rest = &rest[end + 2..];
            }
            _ => {
                let end = rest.find(|c: char| c.is_whitespace() || c == '(' || c == ')');
                let (word, after) = rest.split_at(end.unwrap_or(rest.len()));
                words.push(Word::Bare(word.to_owned()));
                rest = after;
            }
        }
        rest = rest.trim_start();
    }
    Ok(words)
}

struct Reader<'a> {
    context: &'a SearchContext<'a>,
    resource_type: &'static str,
    depth: usize,
    words: &'a [Word],
    at: usize,
}

fn all_of(test: Test) -> Condition {
    Condition { param: "_filter", test }
}

impl Reader<'_> {
    fn next(&mut self) -> Option<&Word> {
        let word = self.words.get(self.at);
        self.at += 1;
        word
    }

    fn is_bare(&self, name: &str) -> bool {
        matches!(self.words.get(self.at), Some(Word::Bare(word)) if word.eq_ignore_ascii_case(name))
    }

    fn filter(&mut self, nested: usize) -> Result<Condition, Problem> {
        if nested > NESTED_MAX {
            return Err(wrong("parentheses stand too deep"));
        }
        let mut left = self.term(nested)?;
        loop {
            let both = self.is_bare("and");
            if !both && !self.is_bare("or") {
                return Ok(left);
            }
            self.at += 1;
            let pair = vec![left, self.term(nested)?];
            left = all_of(if both { Test::Both(pair) } else { Test::Either(pair) });
        }
    }

    fn term(&mut self, nested: usize) -> Result<Condition, Problem> {
        let negated = self.is_bare("not") && self.words.get(self.at + 1) == Some(&Word::Open);
        if negated {
            self.at += 1;
        }
        if self.words.get(self.at) == Some(&Word::Open) {
            self.at += 1;
            let inner = self.filter(nested + 1)?;
            if self.next() != Some(&Word::Close) {
                return Err(wrong("a parenthesis does not close"));
            }
            return Ok(if negated { all_of(Test::Not(Box::new(inner))) } else { inner });
        }
        let Some(Word::Bare(path)) = self.next().cloned() else {
            return Err(wrong("the name of a parameter is expected"));
        };
        let Some(Word::Bare(operator)) = self.next().cloned() else {
            return Err(wrong("an operator is expected after a parameter"));
        };
        let value = match self.next() {
            Some(Word::Bare(value) | Word::Quoted(value)) => value.clone(),
            _ => return Err(wrong("a value is expected after an operator")),
        };
        compare(self.context, self.resource_type, &path, &operator, &value, self.depth)
    }
}

/// `path operator value`.
fn compare(
    context: &SearchContext<'_>,
    resource_type: &'static str,
    path: &str,
    operator: &str,
    value: &str,
    depth: usize,
) -> Result<Condition, Problem> {
    if path.contains('[') {
        let what = "conditions on parts of a parameter, in square brackets, are not supported";
        return Err(Problem::Fatal(unsupported("_filter", what)));
    }
    if depth > super::link::DEPTH_MAX {
        return Err(wrong("a path is too long"));
    }
    let Some((head, rest)) = path.split_once('.') else {
        let parameter = parameter_of(resource_type, path, path).map_err(name_it)?;
        return plain(context, parameter, operator, value);
    };
    let (base, kind) = match head.split_once(':') {
        Some((base, kind)) => (base, Some(kind)),
        None => (head, None),
    };
    let parameter = parameter_of(resource_type, base, base).map_err(name_it)?;
    if parameter.kind != ParameterKind::Reference {
        return Err(wrong("only references can be chained"));
    }
    let mut step = |kind| compare(context, kind, rest, operator, value, depth + 1);
    let queries = chain_to(depth, parameter, "_filter", kind, &mut step)?;
    Ok(Condition { param: parameter.name, test: Test::Link(Link::Chain(queries)) })
}

fn name_it(problem: Problem) -> Problem {
    match problem {
        Problem::Ignorable(issue) | Problem::Fatal(issue) => {
            Problem::Fatal(Issue { expression: "_filter".into(), ..issue })
        }
    }
}

fn plain(
    context: &SearchContext<'_>,
    parameter: &'static SearchParameter,
    operator: &str,
    value: &str,
) -> Result<Condition, Problem> {
    use ParameterKind as Kind;
    let any = |wanted| Condition { param: parameter.name, test: Test::Any(vec![wanted]) };
    let none = |wanted| Condition { param: parameter.name, test: Test::NotAny(vec![wanted]) };
    let parse = |modifier: Option<&str>, value: &str| {
        value::parse_value(context, parameter, "_filter", modifier, value)
    };
    let ordered = matches!(parameter.kind, Kind::Date | Kind::Number | Kind::Quantity);
    // What has a meaning in a list of values has none here.
    let escaped = || value.replace('\\', "\\\\").replace(',', "\\,").replace('$', "\\$");
    let folded = || normalise(value);
    let fits_no = || {
        let what = format!("operator `{}` does not fit `{}`", shown(operator), parameter.name);
        Err(Problem::Fatal(unsupported("_filter", &what)))
    };
    match (operator, parameter.kind) {
        ("pr", _) => {
            let is_there = match value {
                "true" => true,
                "false" => false,
                _ => return Err(wrong("`pr` takes true or false")),
            };
            Ok(Condition { param: parameter.name, test: Test::Missing(!is_there) })
        }
        ("eq" | "ne" | "gt" | "lt" | "ge" | "le" | "sa" | "eb" | "ap", _) if ordered => {
            // A number may begin with a sign, a date never with a prefix of its own.
            if parameter.kind != Kind::Date && Decimal::parse(number_of(value)).is_none() {
                return Err(wrong("a number is expected"));
            }
            parse(None, &format!("{operator}{}", escaped())).map(any)
        }
        // Two spans of time that overlap.
        ("po", Kind::Date) => parse(None, &format!("ap{}", escaped())).map(any),
        ("eq", Kind::String) => Ok(any(Wanted::Folded(folded()))),
        ("ne", Kind::String) => Ok(none(Wanted::Folded(folded()))),
        ("sw", Kind::String) => Ok(any(Wanted::StartsWith(folded()))),
        ("ew", Kind::String) => Ok(any(Wanted::EndsWith(folded()))),
        ("co", Kind::String) => Ok(any(Wanted::Contains(folded()))),
        ("eq", Kind::Token | Kind::Reference | Kind::Uri) => parse(None, &escaped()).map(any),
        ("ne", Kind::Token | Kind::Reference | Kind::Uri) => parse(None, &escaped()).map(none),
        ("re", Kind::Reference) => parse(None, &escaped()).map(any),
        ("in", Kind::Token) => parse(Some("in"), &escaped()).map(any),
        ("ni", Kind::Token) => parse(Some("not-in"), &escaped()).map(none),
        ("ss", Kind::Token) => parse(Some("below"), &escaped()).map(any),
        ("sb", Kind::Token) => parse(Some("above"), &escaped()).map(any),
        _ => fits_no(),
    }
}

fn number_of(value: &str) -> &str {
    value.split('|').next().unwrap_or_default()
}
