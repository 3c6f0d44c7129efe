//! Issues, and the OperationOutcome that carries them (FHIR R4 operationoutcome.html).

use serde_json::{Value, json};

/// How bad an issue is (value set issue-severity).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The document cannot be read at all.
    Fatal,
    /// It cannot be accepted.
    Error,
    /// It can, and something is likely wrong.
    Warning,
    /// Worth knowing.
    Information,
}

impl Severity {
    /// The code of value set issue-severity.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fatal => "fatal",
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Information => "information",
        }
    }
}

/// One thing that is wrong. Holds no value from a record: `diagnostics` says
/// what rule is broken, `expression` where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issue {
    /// How bad it is.
    pub severity: Severity,
    /// Code of value set issue-type: `structure`, `required`, `value`, `not-supported`, …
    pub code: &'static str,
    /// FHIRPath of the place; for a search, the parameter. Empty when there is none.
    pub expression: String,
    /// A sentence for people.
    pub diagnostics: String,
}

impl Issue {
    /// An issue of severity error.
    pub fn error(
        code: &'static str,
        expression: impl Into<String>,
        text: impl Into<String>,
    ) -> Self {
        Self {
            severity: Severity::Error,
            code,
            expression: expression.into(),
            diagnostics: text.into(),
        }
    }

    /// The same issue with another severity.
    #[must_use]
    pub fn with_severity(self, severity: Severity) -> Self {
        Self { severity, ..self }
    }

    /// Whether what has the issue must be refused.
    pub fn is_error(&self) -> bool {
        self.severity <= Severity::Error
    }
}

impl std::fmt::Display for Issue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if !self.expression.is_empty() {
            write!(f, "{}: ", self.expression)?;
        }
        f.write_str(&self.diagnostics)
    }
}

/// The OperationOutcome with these issues; without any, one that says that all went well.
pub fn operation_outcome(issues: &[Issue]) -> Value {
    let mut list: Vec<Value> = issues
        .iter()
        .map(|issue| {
            let mut entry = json!({
                "severity": issue.severity.as_str(),
                "code": issue.code,
                "diagnostics": issue.diagnostics,
            });
            if !issue.expression.is_empty() {
                entry["expression"] = json!([issue.expression]);
            }
            entry
        })
        .collect();
    if list.is_empty() {
        list.push(json!({
            "severity": "information", "code": "informational", "diagnostics": "All went well.",
        }));
    }
    json!({ "resourceType": "OperationOutcome", "issue": list })
}
