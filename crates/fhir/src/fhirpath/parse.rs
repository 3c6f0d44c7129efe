//! Text to expression tree: recursive descent in the order of precedence of
//! FHIRPath (`.` binds tightest, then `is`/`as`, `|`, `= !=`, `and`, `or`).

use super::{CompileError, Expr};

/// Nesting that no search parameter comes near; keeps recursion bounded.
const DEPTH_MAX: usize = 32;

pub(super) fn parse(text: &str) -> Result<Expr, CompileError> {
    let mut reader = Reader { text, at: 0, depth: 0 };
    let expr = reader.or()?;
    reader.skip_space();
    if reader.at == text.len() { Ok(expr) } else { Err(reader.fail("end or operator")) }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn fail(&self, expected: &'static str) -> CompileError {
        CompileError { offset: self.at, expected }
    }

    fn skip_space(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
    }

    fn take(&mut self, symbol: &str) -> bool {
        self.skip_space();
        let found = self.rest().starts_with(symbol);
        if found {
            self.at += symbol.len();
        }
        found
    }

    fn need(&mut self, symbol: &'static str) -> Result<(), CompileError> {
        if self.take(symbol) { Ok(()) } else { Err(self.fail(symbol)) }
    }

    /// Takes a word operator, not the start of a longer name.
    fn take_word(&mut self, word: &str) -> bool {
        self.skip_space();
        let Some(after) = self.rest().strip_prefix(word) else { return false };
        let ends = !after.starts_with(|c: char| c.is_alphanumeric() || c == '_');
        if ends {
            self.at += word.len();
        }
        ends
    }

    fn name(&mut self) -> Result<String, CompileError> {
        self.skip_space();
        let rest = self.rest();
        let end =
            rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
        if end == 0 || rest.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(self.fail("name"));
        }
        self.at += end;
        Ok(rest[..end].to_owned())
    }

    /// A type name; the namespaces `FHIR.` and `System.` are dropped.
    fn type_name(&mut self) -> Result<String, CompileError> {
        let name = self.name()?;
        if matches!(name.as_str(), "FHIR" | "System") && self.take(".") {
            self.name()
        } else {
            Ok(name)
        }
    }

    fn text_literal(&mut self) -> Result<String, CompileError> {
        self.need("'")?;
        let rest = self.rest();
        let end = rest.find('\'').ok_or(self.fail("closing quote"))?;
        if rest[..end].contains('\\') {
            return Err(self.fail("text without escapes"));
        }
        self.at += end + 1;
        Ok(rest[..end].to_owned())
    }

    fn or(&mut self) -> Result<Expr, CompileError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(self.fail("less nesting"));
        }
        let mut left = self.and()?;
        while self.take_word("or") {
            left = Expr::Or(left.into(), self.and()?.into());
        }
        self.depth -= 1;
        Ok(left)
    }

    fn and(&mut self) -> Result<Expr, CompileError> {
        let mut left = self.equality()?;
        while self.take_word("and") {
            left = Expr::And(left.into(), self.equality()?.into());
        }
        Ok(left)
    }

    fn equality(&mut self) -> Result<Expr, CompileError> {
        let left = self.union()?;
        if self.take("!=") {
            return Ok(Expr::NotEqual(left.into(), self.union()?.into()));
        }
        if self.take("=") {
            return Ok(Expr::Equal(left.into(), self.union()?.into()));
        }
        Ok(left)
    }

    fn union(&mut self) -> Result<Expr, CompileError> {
        let mut parts = vec![self.typed()?];
        while self.take("|") {
            parts.push(self.typed()?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Expr::Union(parts) })
    }

    fn typed(&mut self) -> Result<Expr, CompileError> {
        let mut left = self.path()?;
        loop {
            if self.take_word("is") {
                left = Expr::Is(left.into(), self.type_name()?);
            } else if self.take_word("as") {
                left = Expr::As(left.into(), self.type_name()?);
            } else {
                return Ok(left);
            }
        }
    }

    fn path(&mut self) -> Result<Expr, CompileError> {
        let mut left = self.term()?;
        loop {
            if self.take(".") {
                let name = self.name()?;
                left = self.step(left, name)?;
            } else if self.take("[") {
                let digits: String = self.rest().chars().take_while(char::is_ascii_digit).collect();
                let place = digits.parse().map_err(|_| self.fail("number"))?;
                self.at += digits.len();
                self.need("]")?;
                left = Expr::Index(left.into(), place);
            } else {
                return Ok(left);
            }
        }
    }

    fn term(&mut self) -> Result<Expr, CompileError> {
        self.skip_space();
        if self.take("(") {
            let inner = self.or()?;
            self.need(")")?;
            return Ok(inner);
        }
        if self.rest().starts_with('\'') {
            return self.text_literal().map(Expr::Text);
        }
        if self.take("$this") {
            return Ok(Expr::This);
        }
        let name = self.name()?;
        match name.as_str() {
            "true" => Ok(Expr::Boolean(true)),
            "false" => Ok(Expr::Boolean(false)),
            _ if name.starts_with(|c: char| c.is_ascii_uppercase()) => Ok(Expr::Type(name)),
            _ => self.step(Expr::This, name),
        }
    }

    /// A child or a function call on `input`.
    fn step(&mut self, input: Expr, name: String) -> Result<Expr, CompileError> {
        if !self.take("(") {
            return Ok(Expr::Child(input.into(), name));
        }
        let input = Box::new(input);
        let call = match name.as_str() {
            "where" => Expr::Where(input, self.or()?.into()),
            "exists" if self.take(")") => return Ok(Expr::Exists(input)),
            "exists" => Expr::Exists(Expr::Where(input, self.or()?.into()).into()),
            "resolve" => Expr::Resolve(input),
            "extension" => Expr::Extension(input, self.text_literal()?),
            "hasExtension" => Expr::HasExtension(input, self.text_literal()?),
            "as" | "ofType" => Expr::As(input, self.type_name()?),
            "is" => Expr::Is(input, self.type_name()?),
            _ => return Err(self.fail("supported function")),
        };
        self.need(")")?;
        Ok(call)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_supported_is_refused_with_its_place() {
        for (text, offset) in
            [("Patient.name.count()", 19), ("a +b", 2), ("", 0), ("a.where(b", 9), ("a[x]", 2)]
        {
            let error = parse(text).expect_err(text);
            assert_eq!(error.offset, offset, "{text}: {error}");
        }
        assert!(parse(&"(".repeat(100_000)).is_err());
    }

    #[test]
    fn operators_bind_in_the_order_of_the_specification() {
        let typed = parse("a | b as C = d and e").expect("parses");
        assert!(matches!(typed, Expr::And(left, _) if matches!(&*left, Expr::Equal(union, _)
            if matches!(&**union, Expr::Union(parts) if matches!(parts[1], Expr::As(..))))));
    }
}
