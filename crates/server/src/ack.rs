//! Which acknowledgement a message gets (HL7 v2.8.2 section 2.9.2, original mode).
//!
//! Invariant: AA stands for durable; whatever was not kept is answered AR.

use holdfast_base::Category;
use holdfast_exchange::hl7v2::{AckCode, Problem, ProblemSeverity};
use holdfast_exchange::{Admission, ExchangeError, Outcome};
use holdfast_fhir::{Issue, Severity};

use crate::admission::issues;

/// ERR-3, HL7 table 0357: segment sequence error; also for what is no message.
pub(crate) const CODE_SEQUENCE: u16 = 100;
const CODE_REQUIRED: u16 = 101;
const CODE_DATA_TYPE: u16 = 102;
const CODE_UNSUPPORTED: u16 = 200;
const CODE_INTERNAL: u16 = 207;
/// ERR segments in one acknowledgement: more than anybody reads.
const PROBLEMS_COUNT_MAX: usize = 20;

/// What to answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    /// MSA-1.
    pub code: AckCode,
    /// The ERR segments.
    pub problems: Vec<Problem>,
    /// Whether the connection ends here.
    pub closes: bool,
}

/// The answer to a message that was admitted, or that could not be kept.
pub(crate) fn reply_to(admitted: &Result<Admission, ExchangeError>) -> Reply {
    match admitted {
        Ok(admission) => reply_to_outcome(&admission.outcome, &issues(admission)),
        Err(error) => reply_to_error(error),
    }
}

fn reply_to_outcome(outcome: &Outcome, issues: &[Issue]) -> Reply {
    let severe = issues.iter().filter(|issue| issue.is_error()).take(PROBLEMS_COUNT_MAX);
    match outcome {
        // Kept and applied, or kept to be applied: what had to be left out is told as
        // a warning, because the message as a whole was accepted.
        Outcome::Accepted | Outcome::Duplicate | Outcome::Queued => {
            let problems = severe.map(|issue| problem(issue, ProblemSeverity::Warning)).collect();
            Reply { code: AckCode::AA, problems, closes: false }
        }
        Outcome::Refused(reason) => {
            let unsupported = is_unsupported(reason);
            let code = if unsupported { AckCode::AR } else { AckCode::AE };
            let mut problems: Vec<_> =
                severe.map(|issue| problem(issue, ProblemSeverity::Error)).collect();
            if problems.is_empty() {
                problems.push(Problem::whole(code_of(reason), reason.clone()));
            }
            Reply { code, problems, closes: false }
        }
    }
}

/// The answer to a message that was not kept. After a fault of ours the sender had
/// better begin anew.
pub(crate) fn reply_to_error(error: &ExchangeError) -> Reply {
    let closes = error.category() == Category::Fault;
    let text = if closes { "internal fault".to_owned() } else { error.to_string() };
    Reply { code: AckCode::AR, problems: vec![Problem::whole(CODE_INTERNAL, text)], closes }
}

fn is_unsupported(reason: &str) -> bool {
    reason.ends_with("is not supported")
}

fn code_of(text: &str) -> u16 {
    if is_unsupported(text) {
        CODE_UNSUPPORTED
    } else if text.contains("missing") {
        CODE_REQUIRED
    } else if text.contains("malformed") {
        CODE_SEQUENCE
    } else {
        CODE_DATA_TYPE
    }
}

fn problem(issue: &Issue, severity: ProblemSeverity) -> Problem {
    let place = parse_place(&issue.expression).unwrap_or_default();
    Problem {
        segment: place.segment.to_owned(),
        sequence: place.sequence,
        field: place.field,
        component: place.component,
        severity: if issue.severity <= Severity::Error {
            severity
        } else {
            ProblemSeverity::Information
        },
        ..Problem::whole(code_of(&issue.diagnostics), issue.diagnostics.clone())
    }
}

/// A place in a message, as ERR-2 wants it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Place<'a> {
    segment: &'a str,
    sequence: usize,
    field: usize,
    component: usize,
}

/// Parses `PID`, `PID-5`, `PID-5.1`, `OBX[3]-5`; `None` for anything else.
fn parse_place(text: &str) -> Option<Place<'_>> {
    let (head, rest) = text.split_once('-').map_or((text, None), |(head, rest)| (head, Some(rest)));
    let (segment, sequence) = match head.split_once('[') {
        Some((segment, number)) => (segment, number.strip_suffix(']')?.parse().ok()?),
        None => (head, 1),
    };
    let is_name = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit();
    if segment.len() != 3 || !segment.chars().all(is_name) {
        return None;
    }
    let Some(rest) = rest else { return Some(Place { segment, sequence, field: 0, component: 0 }) };
    let (field, component) = rest.split_once('.').map_or((rest, None), |(f, c)| (f, Some(c)));
    // A repetition of the field (`PID-3[2].1`) is not told in ERR-2 by us.
    let field = field.split('[').next()?.parse().ok()?;
    let component = component.map_or(Some(0), |text| text.split('.').next()?.parse().ok())?;
    Some(Place { segment, sequence, field, component })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::tests::admission;

    fn code(outcome: Outcome) -> AckCode {
        reply_to(&Ok(admission(outcome))).code
    }

    #[test]
    fn what_is_durable_is_accepted() {
        assert_eq!(code(Outcome::Accepted), AckCode::AA);
        assert_eq!(code(Outcome::Duplicate), AckCode::AA);
        assert_eq!(code(Outcome::Queued), AckCode::AA);
    }

    #[test]
    fn bad_content_is_an_error_and_what_we_do_not_do_a_rejection() {
        let reply = reply_to(&Ok(admission(Outcome::Refused(
            "required patient identifier is missing at PID-3".into(),
        ))));
        assert_eq!(reply.code, AckCode::AE);
        assert_eq!(reply.problems[0].code, CODE_REQUIRED);
        assert!(!reply.closes);
        let reply =
            reply_to(&Ok(admission(Outcome::Refused("query messages is not supported".into()))));
        assert_eq!((reply.code, reply.problems[0].code), (AckCode::AR, CODE_UNSUPPORTED));
    }

    #[test]
    fn p01_what_was_not_kept_is_never_accepted() {
        let errors = [
            ExchangeError::NotSignedIn,
            ExchangeError::Suspended,
            ExchangeError::NotPermitted { reason: "not-the-sender" },
            ExchangeError::Conflict,
            ExchangeError::KeeperAway,
            ExchangeError::Internal("x"),
        ];
        for error in errors {
            let fault = error.category() == Category::Fault;
            let reply = reply_to(&Err(error));
            assert_eq!(reply.code, AckCode::AR);
            assert_eq!(reply.problems[0].code, CODE_INTERNAL);
            assert_eq!(reply.closes, fault);
        }
    }

    #[test]
    fn a_fault_of_ours_tells_the_sender_nothing_of_it() {
        let reply = reply_to_error(&ExchangeError::Internal("a detail"));
        assert_eq!(reply.problems[0].text, "internal fault");
    }

    #[test]
    fn severe_issues_become_err_segments_with_their_place() {
        let issues = [
            Issue::error("processing", "OBX[3]-5.2", "left out: not a number"),
            Issue::error("processing", "PID-7", "odd").with_severity(Severity::Warning),
        ];
        let reply = reply_to_outcome(&Outcome::Refused("no".into()), &issues);
        assert_eq!(reply.problems.len(), 1);
        let problem = &reply.problems[0];
        assert_eq!((problem.segment.as_str(), problem.sequence), ("OBX", 3));
        assert_eq!((problem.field, problem.component), (5, 2));
        assert_eq!(problem.severity, ProblemSeverity::Error);
        let reply = reply_to_outcome(&Outcome::Accepted, &issues);
        assert_eq!(reply.problems[0].severity, ProblemSeverity::Warning);
    }

    #[test]
    fn places_are_parsed_or_left_out() {
        let at = |segment, sequence, field, component| {
            Some(Place { segment, sequence, field, component })
        };
        assert_eq!(parse_place("PID"), at("PID", 1, 0, 0));
        assert_eq!(parse_place("PID-5"), at("PID", 1, 5, 0));
        assert_eq!(parse_place("PID-5.1"), at("PID", 1, 5, 1));
        assert_eq!(parse_place("PID-3[2].4.1"), at("PID", 1, 3, 4));
        assert_eq!(parse_place("OBX[12]-5"), at("OBX", 12, 5, 0));
        assert_eq!(parse_place("ZX1"), at("ZX1", 1, 0, 0));
        for other in
            ["", "payload", "Patient.name", "OBX[x]-5", "OBX[1-5", "PID-x", "PID-5.y", "/a/b"]
        {
            assert_eq!(parse_place(other), None, "{other}");
        }
    }
}
