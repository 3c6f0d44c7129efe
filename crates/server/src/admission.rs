//! What became of a payload, for those who sent it over HTTP.

use holdfast_exchange::{Admission, Matched, Outcome, Written};
use holdfast_fhir::{Issue, Severity};
use serde_json::{Value, json};

/// An admission as JSON.
pub(crate) fn to_json(admission: &Admission) -> Value {
    let issues: Vec<Value> = issues(admission)
        .iter()
        .map(|issue| {
            json!({
                "place": issue.expression,
                "severity": issue.severity.as_str(),
                "text": issue.diagnostics,
            })
        })
        .collect();
    let mut body = json!({
        "message": admission.message,
        "outcome": admission.outcome.as_str(),
        "control_id": admission.control_id,
        "matched": matched(admission.matched),
        "issues": issues,
        "written": admission.written.iter().map(written).collect::<Vec<_>>(),
    });
    if let Outcome::Refused(reason) = &admission.outcome {
        body["reason"] = json!(reason);
    }
    body
}

/// The issues of an admission in the one form that the doors render.
pub(crate) fn issues(admission: &Admission) -> Vec<Issue> {
    let issues = admission.issues.iter().map(|told| Issue {
        severity: severity_named(&told.severity),
        code: told.code,
        expression: told.place.clone(),
        diagnostics: told.text.clone(),
    });
    issues.collect()
}

/// Intake has a scale of its own; the names are the same.
fn severity_named(severity: &impl std::fmt::Debug) -> Severity {
    match format!("{severity:?}").as_str() {
        "Information" => Severity::Information,
        "Warning" => Severity::Warning,
        _ => Severity::Error,
    }
}

fn matched(matched: Matched) -> &'static str {
    match matched {
        Matched::Known => "known",
        Matched::Linked => "linked",
        Matched::Review => "review",
        Matched::New => "new",
    }
}

fn written(written: &Written) -> Value {
    json!({
        "entry": written.entry,
        "type": written.resource_type,
        "id": written.id,
        "version": written.version,
        "created": written.created,
        "changed": written.changed,
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use holdfast_base::{MessageId, Timestamp};

    use super::*;

    /// An admission with one resource written.
    pub fn admission(outcome: Outcome) -> Admission {
        Admission {
            category: None,
            message: MessageId(7),
            outcome,
            issues: Vec::new(),
            control_id: Some("C1".into()),
            written: vec![Written {
                entry: 0,
                resource_type: "Observation".into(),
                id: "abc".into(),
                version: 2,
                created: false,
                changed: true,
                deleted: false,
                last_updated: Timestamp::from_millis(0),
            }],
            matched: Matched::Linked,
        }
    }

    #[test]
    fn an_admission_says_what_was_written_and_what_it_was_matched_to() {
        let body = to_json(&admission(Outcome::Accepted));
        assert_eq!(
            body,
            json!({
                "message": 7, "outcome": "accepted", "control_id": "C1", "matched": "linked",
                "issues": [],
                "written": [{
                    "entry": 0, "type": "Observation", "id": "abc", "version": 2,
                    "created": false, "changed": true,
                }],
            })
        );
    }

    #[test]
    fn only_a_refusal_has_a_reason() {
        let body = to_json(&admission(Outcome::Refused("why".into())));
        assert_eq!((&body["outcome"], &body["reason"]), (&json!("refused"), &json!("why")));
        assert!(to_json(&admission(Outcome::Queued)).get("reason").is_none());
    }

    #[test]
    fn severities_keep_their_names() {
        #[derive(Debug)]
        enum Scale {
            Information,
            Warning,
            Error,
        }
        assert_eq!(severity_named(&Scale::Information), Severity::Information);
        assert_eq!(severity_named(&Scale::Warning), Severity::Warning);
        assert_eq!(severity_named(&Scale::Error), Severity::Error);
    }
}
