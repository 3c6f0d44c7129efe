//! Tokens to expression tree, by precedence (FHIRPath N1, section 6.8): path,
//! sign, `* / div mod`, `+ - &`, `is as`, `|`, `< <= > >=`, `= != ~ !~`,
//! `in contains`, `and`, `or xor`, `implies`.

use regex::RegexBuilder;

use super::CompileError;
use super::expr::{Expr, Function, Operator, Pattern, TypeName, TypeTest};
use super::lex::{Token, tokens};
use super::number::Number;
use super::quantity::calendar_unit;

/// Longest text, deepest parentheses, highest tree: far beyond any published
/// invariant; keeps recursion bounded.
const TEXT_BYTES_MAX: usize = 32 * 1024;
const DEPTH_MAX: usize = 32;
const HEIGHT_MAX: usize = 128;
/// Operators, calls and parentheses of one expression.
const PARTS_MAX: usize = 1500;
/// Memory for one compiled pattern.
const PATTERN_BYTES_MAX: usize = 256 * 1024;

pub(super) fn parse(text: &str) -> Result<Expr, CompileError> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(CompileError { offset: TEXT_BYTES_MAX, expected: "shorter expression" });
    }
    let mut reader = Reader { tokens: tokens(text)?, at: 0, depth: 0, parts: 0 };
    let expr = reader.expression(0)?;
    match reader.peek() {
        Token::End if expr.height() <= HEIGHT_MAX => Ok(expr),
        Token::End => Err(CompileError { offset: 0, expected: "less nesting" }),
        _ => Err(reader.fail("end or operator")),
    }
}

/// A pattern of a text; `.` takes line ends, too.
pub(super) fn pattern(text: &str) -> Option<Pattern> {
    let build = |pattern: &str| {
        RegexBuilder::new(pattern)
            .dot_matches_new_line(true)
            .size_limit(PATTERN_BYTES_MAX)
            .dfa_size_limit(PATTERN_BYTES_MAX)
            .nest_limit(32)
            .build()
            .ok()
    };
    Some(Pattern { anywhere: build(text)?, whole: build(&format!("^(?:{text})$"))? })
}

struct Reader {
    tokens: Vec<(usize, Token)>,
    at: usize,
    depth: usize,
    parts: usize,
}

enum Infix {
    Binary(Operator),
    Union,
    Typed(TypeTest),
}

impl Reader {
    fn peek(&self) -> &Token {
        self.tokens.get(self.at).map_or(&Token::End, |(_, token)| token)
    }

    fn fail(&self, expected: &'static str) -> CompileError {
        let place = self.tokens.get(self.at).or(self.tokens.last());
        CompileError { offset: place.map_or(0, |(offset, _)| *offset), expected }
    }

    fn next(&mut self) -> Token {
        let token = self.peek().clone();
        self.at += 1;
        token
    }

    fn take(&mut self, symbol: &str) -> bool {
        let found = matches!(self.peek(), Token::Symbol(next) if *next == symbol);
        self.at += usize::from(found);
        found
    }

    fn need(&mut self, symbol: &'static str) -> Result<(), CompileError> {
        if self.take(symbol) { Ok(()) } else { Err(self.fail(symbol)) }
    }

    /// Counts a part of the tree.
    fn count(&mut self) -> Result<(), CompileError> {
        self.parts += 1;
        if self.parts > PARTS_MAX { Err(self.fail("shorter expression")) } else { Ok(()) }
    }

    /// The operator that comes next, and how tightly it binds.
    fn infix(&self) -> Option<(u8, Infix)> {
        use Operator::*;
        let binary = |strength, operator| Some((strength, Infix::Binary(operator)));
        match self.peek() {
            Token::Name(word, false) => match word.as_str() {
                "implies" => binary(1, Implies),
                "or" => binary(2, Or),
                "xor" => binary(2, Xor),
                "and" => binary(3, And),
                "in" => binary(4, In),
                "contains" => binary(4, Contains),
                "is" => Some((8, Infix::Typed(TypeTest::Is))),
                "as" => Some((8, Infix::Typed(TypeTest::As))),
                "div" => binary(10, Div),
                "mod" => binary(10, Mod),
                _ => None,
            },
            Token::Symbol(symbol) => match *symbol {
                "=" => binary(5, Equal),
                "!=" => binary(5, NotEqual),
                "~" => binary(5, Equivalent),
                "!~" => binary(5, NotEquivalent),
                "<" => binary(6, Less),
                "<=" => binary(6, LessOrEqual),
                ">" => binary(6, Greater),
                ">=" => binary(6, GreaterOrEqual),
                "|" => Some((7, Infix::Union)),
                "+" => binary(9, Add),
                "-" => binary(9, Subtract),
                "&" => binary(9, Concatenate),
                "*" => binary(10, Multiply),
                "/" => binary(10, Divide),
                _ => None,
            },
            _ => None,
        }
    }

    fn expression(&mut self, least: u8) -> Result<Expr, CompileError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(self.fail("less nesting"));
        }
        let mut left = self.signed()?;
        while let Some((strength, infix)) = self.infix().filter(|(strength, _)| *strength > least) {
            self.at += 1;
            if !matches!(infix, Infix::Union) {
                self.count()?;
            }
            left = match infix {
                Infix::Typed(test) => Expr::Typed(Some(left.into()), test, self.type_name()?),
                Infix::Union => {
                    let mut parts = match left {
                        Expr::Union(parts) => parts,
                        other => vec![other],
                    };
                    parts.push(self.expression(strength)?);
                    Expr::Union(parts)
                }
                Infix::Binary(operator) => {
                    let right = self.expression(strength)?;
                    Expr::Binary(operator, left.into(), right.into())
                }
            };
        }
        self.depth -= 1;
        Ok(left)
    }

    fn signed(&mut self) -> Result<Expr, CompileError> {
        let mut signs = Vec::new();
        loop {
            if self.take("-") {
                signs.push(true);
            } else if self.take("+") {
                signs.push(false);
            } else {
                break;
            }
            self.count()?;
        }
        let inner = self.path()?;
        Ok(signs.into_iter().rev().fold(inner, |inner, minus| {
            if minus { Expr::Negate(inner.into()) } else { Expr::Plus(inner.into()) }
        }))
    }

    fn path(&mut self) -> Result<Expr, CompileError> {
        let mut left = self.term()?;
        loop {
            if self.take(".") {
                left = match self.next() {
                    Token::Name(name, _) => self.step(Some(left), name)?,
                    Token::Special("$this") => left,
                    _ => {
                        self.at -= 1;
                        return Err(self.fail("name"));
                    }
                };
            } else if self.take("[") {
                self.count()?;
                let place = self.expression(0)?;
                self.need("]")?;
                left = Expr::At(left.into(), place.into());
            } else {
                return Ok(left);
            }
        }
    }

    fn term(&mut self) -> Result<Expr, CompileError> {
        let start = self.at;
        match self.next() {
            Token::Symbol("(") => {
                let inner = self.expression(0)?;
                self.need(")")?;
                Ok(inner)
            }
            Token::Symbol("{") => {
                self.need("}")?;
                Ok(Expr::Empty)
            }
            Token::Text(text) => Ok(Expr::Text(text, None)),
            Token::Integer(number) => {
                Ok(self.unit(Number::from(number)).unwrap_or(Expr::Integer(number)))
            }
            Token::Decimal(number) => Ok(self.unit(number).unwrap_or(Expr::Decimal(number))),
            Token::Temporal(at) => Ok(Expr::Temporal(at)),
            Token::Variable(name) => Ok(Expr::Variable(name)),
            Token::Special("$index") => Ok(Expr::Index),
            Token::Special("$total") => Ok(Expr::Total),
            Token::Special(_) => Ok(Expr::This),
            Token::Name(name, false) if name == "true" => Ok(Expr::Boolean(true)),
            Token::Name(name, false) if name == "false" => Ok(Expr::Boolean(false)),
            Token::Name(name, _) => {
                let is_call = matches!(self.peek(), Token::Symbol("("));
                if !is_call
                    && crate::definitions().type_definition(&name).is_some()
                    && name.starts_with(|c: char| c.is_ascii_uppercase())
                {
                    return Ok(Expr::Type(name));
                }
                self.step(None, name)
            }
            _ => {
                self.at = start;
                Err(self.fail("name"))
            }
        }
    }

    /// The quantity, when a unit follows the number.
    fn unit(&mut self, number: Number) -> Option<Expr> {
        let unit = match self.peek() {
            Token::Text(unit) => unit.clone(),
            Token::Name(word, false) if calendar_unit(word).is_some() => word.clone(),
            _ => return None,
        };
        self.at += 1;
        Some(Expr::Quantity(number, unit))
    }

    fn type_name(&mut self) -> Result<TypeName, CompileError> {
        let Token::Name(name, _) = self.next() else {
            self.at -= 1;
            return Err(self.fail("type"));
        };
        let system = match name.as_str() {
            "System" => Some(true),
            "FHIR" => Some(false),
            _ => None,
        };
        if system.is_some() && self.take(".") {
            let Token::Name(name, _) = self.next() else {
                self.at -= 1;
                return Err(self.fail("type"));
            };
            return Ok(TypeName { system, name });
        }
        Ok(TypeName { system: None, name })
    }

    /// A child or a function call on `input`.
    fn step(&mut self, input: Option<Expr>, name: String) -> Result<Expr, CompileError> {
        if !self.take("(") {
            return Ok(match input {
                Some(Expr::Path(base, mut names)) => {
                    names.push(name);
                    Expr::Path(base, names)
                }
                Some(Expr::This) | None => Expr::Path(None, vec![name]),
                Some(other) => Expr::Path(Some(other.into()), vec![name]),
            });
        }
        self.count()?;
        let input = input.filter(|input| !matches!(input, Expr::This)).map(Box::new);
        let test = match name.as_str() {
            "is" => Some(TypeTest::Is),
            "as" => Some(TypeTest::As),
            "ofType" => Some(TypeTest::OfType),
            _ => None,
        };
        if let Some(test) = test {
            let name = self.type_name()?;
            self.need(")")?;
            return Ok(Expr::Typed(input, test, name));
        }
        let Some((function, least, most)) = Function::named(&name) else {
            self.at = self.at.saturating_sub(2);
            return Err(self.fail("known function"));
        };
        let mut arguments = Vec::new();
        if !self.take(")") {
            loop {
                arguments.push(self.expression(0)?);
                if !self.take(",") {
                    break;
                }
            }
            self.need(")")?;
        }
        if arguments.len() < least || arguments.len() > most {
            self.at = self.at.saturating_sub(1);
            return Err(self.fail("other number of arguments"));
        }
        if matches!(function, Function::Matches | Function::MatchesFull | Function::ReplaceMatches)
            && let Some(Expr::Text(text, compiled)) = arguments.first_mut()
        {
            *compiled = pattern(text).map(Box::new);
        }
        Ok(Expr::Call(input, function, arguments))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_expression_is_refused_with_its_place() {
        for (text, offset) in [
            ("Patient.name.unknown()", 13),
            ("a +", 3),
            ("", 0),
            ("a.where(b", 9),
            ("a.", 2),
            ("1 = ", 4),
            ("'a", 1),
            ("@2015-13", 1),
            ("a b", 2),
            ("a.count(1)", 9),
        ] {
            let error = parse(text).expect_err(text);
            assert_eq!(error.offset, offset, "{text}: {error}");
        }
    }

    #[test]
    fn operators_bind_in_the_order_of_the_specification() {
        let typed = parse("a | b as C = d and e").expect("parses");
        assert!(matches!(typed, Expr::Binary(Operator::And, left, _)
            if matches!(&*left, Expr::Binary(Operator::Equal, union, _)
            if matches!(&**union, Expr::Union(parts) if matches!(parts[1], Expr::Typed(..))))));
    }

    #[test]
    fn no_nesting_exhausts_the_stack() {
        for deep in [
            "(".repeat(100_000),
            "-".repeat(30_000),
            "a[".repeat(9_000),
            "1+".repeat(16_000) + "1",
            ".a".repeat(9_000),
        ] {
            assert!(parse(&deep).is_err());
        }
        let wide = format!("a{}", "|a".repeat(5_000));
        assert!(parse(&wide).is_ok());
    }
}
