//! What every match of a query must have, as far as a query says so in a plain way.
//! Whoever keeps resources in another form than index entries looks at fewer of them
//! by this, and then asks [`Query::matches`].

use super::query::{Condition, Prefix, Query, Test, Wanted};
use super::span::Span;

const ALWAYS: Span = Span { from: i64::MIN, to: i64::MAX };

impl Query {
    fn conditions_on(&self, param: &str) -> impl Iterator<Item = &[Wanted]> {
        let on = move |condition: &&Condition| condition.param == param;
        self.conditions.iter().filter(on).filter_map(|condition| match &condition.test {
            Test::Any(wanted) => Some(wanted.as_slice()),
            _ => None,
        })
    }

    /// A span that every match's value of a date parameter overlaps.
    pub fn span(&self, param: &str) -> Span {
        self.conditions_on(param).fold(ALWAYS, |span, wanted| {
            let hull = wanted
                .iter()
                .map(reach)
                .reduce(|a, b| Span { from: a.from.min(b.from), to: a.to.max(b.to) });
            let hull = hull.unwrap_or(ALWAYS);
            Span { from: span.from.max(hull.from), to: span.to.min(hull.to) }
        })
    }

    /// Codes of a token parameter, or values of a reference's identifier, one of which
    /// every match has, as they are compared: in lower case. `None` when any will do.
    pub fn codes(&self, param: &str) -> Option<Vec<&str>> {
        let code = |wanted| match wanted {
            &Wanted::Token { code: Some(ref code), .. } => Some(code.as_str()),
            Wanted::ReferenceIdentifier { value: Some(value), .. } => Some(value.as_str()),
            _ => None,
        };
        self.conditions_on(param).find_map(|wanted| wanted.iter().map(code).collect())
    }

    /// Type and id of the one resource that every match refers to by `param`.
    pub fn reference(&self, param: &str) -> Option<(&'static str, &str)> {
        self.conditions_on(param).find_map(|wanted| match wanted {
            [Wanted::Reference { target: Some(target), id, base: None, .. }] => {
                Some((crate::type_name(*target)?, id.as_str()))
            }
            _ => None,
        })
    }
}

/// The span that what meets a condition on a date overlaps.
fn reach(wanted: &Wanted) -> Span {
    match wanted {
        Wanted::Date(Prefix::Eq, span) => *span,
        Wanted::Date(Prefix::Gt | Prefix::Ge | Prefix::Sa, span) => {
            Span { from: span.from, ..ALWAYS }
        }
        Wanted::Date(Prefix::Lt | Prefix::Le | Prefix::Eb, span) => Span { to: span.to, ..ALWAYS },
        _ => ALWAYS,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::search::{Handling, parse_query};

    fn query(text: &str) -> Query {
        let pair = |pair: &str| pair.split_once('=').map(|(a, b)| (a.to_owned(), b.to_owned()));
        let pairs: Vec<_> = text.split('&').filter_map(pair).collect();
        parse_query("AuditEvent", &pairs, Handling::Strict).expect("understood")
    }

    #[test]
    fn dates_narrow_to_what_every_match_overlaps() {
        let day = 86_400_000;
        let span = |text: &str| {
            let span = query(text).span("date");
            (span.from, span.to)
        };
        assert_eq!(span("date=1970-01-02"), (day, 2 * day - 1));
        assert_eq!(span("date=ge1970-01-02&date=lt1970-01-03"), (day, 3 * day - 1));
        assert_eq!(span("date=1970-01-01,1970-01-03"), (0, 3 * day - 1));
        for open in ["date=ne1970-01-02", "date=ap1970-01-02", "action=R", "date:missing=true"] {
            assert_eq!(span(open), (i64::MIN, i64::MAX), "{open}");
        }
    }

    #[test]
    fn codes_and_references_narrow_when_all_of_them_are_plain() {
        assert_eq!(query("type=REST,x|110114").codes("type"), Some(vec!["rest", "110114"]));
        for open in ["type=rest,http://x|", "type:not=rest", "action=R"] {
            assert_eq!(query(open).codes("type"), None, "{open}");
        }
        assert_eq!(query("agent:identifier=|dr.a").codes("agent"), Some(vec!["dr.a"]));
        let one = query("entity=Observation/o1");
        assert_eq!(one.reference("entity"), Some(("Observation", "o1")));
        for open in ["entity=Observation/o1,Observation/o2", "entity=o1"] {
            assert_eq!(query(open).reference("entity"), None, "{open}");
        }
    }
}
