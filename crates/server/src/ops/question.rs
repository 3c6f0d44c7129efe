//! Whose acts, and when: the query parameters that scopes and ledger queries share.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use holdfast_base::{OrganizationId, PatientId, PrincipalId, SessionId, Timestamp};
use holdfast_exchange::{Filter, ScopeQuery};
use holdfast_fhir::Issue;

use crate::body::parse_pairs;
use crate::error::Failure;
use crate::state::AppState;

/// Former sizes that one evidence bundle proves its descent from.
const SEEN_COUNT_MAX: usize = 64;

/// A question about acts. Every part that is present must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Question {
    principal: Option<PrincipalId>,
    session: Option<SessionId>,
    token: Option<String>,
    address: Option<String>,
    organization: Option<OrganizationId>,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
    kinds: Vec<String>,
    /// `seen`: sizes at which the asker saw the ledger before.
    pub seen: Vec<u64>,
    /// `witnessed`: whether a bundle stands on what witnesses cosigned.
    pub witnessed: Option<bool>,
    /// `patient`: id of a patient's record, as entries name it.
    patient: Option<PatientId>,
    /// `after`: the index of the last entry of the page before; -1 for the first page.
    pub after: Option<i64>,
    /// `format`.
    pub format: Option<String>,
    /// `limit`.
    pub limit: Option<usize>,
}

impl FromRequestParts<AppState> for Question {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Failure> {
        let mut question = Self::parse(parts.uri.query().unwrap_or_default())?;
        // A token stands for its session; the token itself goes no further.
        if let Some(token) = question.token.take() {
            let session = state.exchange.session_of_token(&token).await?;
            let unknown = || {
                let text = "no session of this token is known, or it ended more than a day ago";
                Failure::invalid(vec![Issue::error("not-found", "token", text)])
            };
            question.session = Some(session.ok_or_else(unknown)?);
        }
        Ok(question)
    }
}

impl Question {
    /// Reads a query string; every parameter that is wrong is named.
    fn parse(query: &str) -> Result<Self, Failure> {
        let mut question = Self::default();
        let mut problems = Vec::new();
        for (name, value) in parse_pairs(query.as_bytes())? {
            if value.is_empty() {
                continue;
            }
            let fits = match name.as_str() {
                "principal" => set(&mut question.principal, &value),
                "session" => set(&mut question.session, &value),
                "organization" => set(&mut question.organization, &value),
                "token" => set(&mut question.token, &value),
                "address" => set(&mut question.address, &value),
                "witnessed" => set(&mut question.witnessed, &value),
                "patient" => set(&mut question.patient, &value),
                "after" => set(&mut question.after, &value),
                "format" => set(&mut question.format, &value),
                "limit" => set(&mut question.limit, &value),
                // A plus sign that was not escaped has become a space.
                "from" => set(&mut question.from, &value.replace(' ', "+")),
                "to" => set(&mut question.to, &value.replace(' ', "+")),
                "kind" => {
                    question.kinds.extend(value.split(',').map(str::to_owned));
                    true
                }
                "seen" => {
                    let sizes: Result<Vec<u64>, _> = value.split(',').map(str::parse).collect();
                    let fits = sizes.is_ok();
                    question.seen.extend(sizes.unwrap_or_default());
                    fits && question.seen.len() <= SEEN_COUNT_MAX
                }
                _ => {
                    let known = "principal, patient, session, token, address, organization, from, to, kind, \
                                 after, seen, witnessed, limit, format";
                    problems.push(Issue::error(
                        "not-supported",
                        "query",
                        format!("known are {known}"),
                    ));
                    continue;
                }
            };
            if !fits {
                problems.push(Issue::error("value", name, "is not of the wanted form"));
            }
        }
        if problems.is_empty() { Ok(question) } else { Err(Failure::invalid(problems)) }
    }

    /// The query of a scope. It has to say whose or when.
    pub fn scope_query(self) -> Result<ScopeQuery, Failure> {
        let query = ScopeQuery {
            principal: self.principal,
            session: self.session,
            address: self.address,
            organization: self.organization,
            from: self.from,
            to: self.to,
        };
        if query == ScopeQuery::default() {
            let text =
                "say whose or when: principal, session, token, address, organization, from or to";
            return Err(Failure::incorrect(text));
        }
        Ok(query)
    }

    /// The filter of ledger entries.
    pub fn filter(self) -> Filter {
        Filter {
            principal: self.principal,
            session: self.session,
            address: self.address,
            organization: self.organization,
            patients: self.patient.into_iter().collect(),
            from: self.from,
            to: self.to,
            kinds: self.kinds,
        }
    }
}

fn set<T: std::str::FromStr>(place: &mut Option<T>, value: &str) -> bool {
    let parsed = value.parse().ok();
    let fits = parsed.is_some();
    *place = parsed;
    fits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_read_whole() {
        let query = "principal=dr.okafor&from=2015-05-07T00:00:00Z&to=2015-05-08T00:00:00%2B02:00\
                     &kind=access,refusal&kind=alert&format=csv&limit=5&seen=7,9";
        let question = Question::parse(query).expect("readable");
        assert_eq!((question.format.as_deref(), question.limit), (Some("csv"), Some(5)));
        assert_eq!(question.seen, [7, 9]);
        let filter = question.clone().filter();
        assert_eq!(filter.kinds, ["access", "refusal", "alert"]);
        assert_eq!(filter.to.map(|to| to.to_string()).as_deref(), Some("2015-05-07T22:00:00.000Z"));
        let scope = question.scope_query().expect("says whose");
        assert_eq!(scope.principal.as_ref().map(PrincipalId::as_str), Some("dr.okafor"));
    }

    #[test]
    fn what_cannot_be_read_is_named_and_its_value_is_not() {
        let failure = Question::parse("from=yesterday&principal=A%20B&colour=blue&seen=x")
            .expect_err("refused");
        let places: Vec<_> = failure.issues.iter().map(|issue| issue.expression.as_str()).collect();
        assert_eq!(places, ["from", "principal", "query", "seen"]);
        assert!(!format!("{failure:?}").contains("yesterday"));
    }

    #[test]
    fn a_scope_of_everything_is_not_a_question() {
        for empty in ["", "format=csv", "principal="] {
            assert!(Question::parse(empty).expect("readable").scope_query().is_err(), "{empty}");
        }
    }
}
