//! Thresholds. Every number is a choice; the reason stands beside it.

use serde::{Deserialize, Serialize};

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;

/// How many distinct patients somebody may treat without a documented
/// relationship within a span of time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnrelatedLimit {
    /// The span, in milliseconds.
    pub window_ms: i64,
    /// From this many patients it is serious.
    pub serious_patients: usize,
    /// From this many patients it is critical and the principal is suspended.
    pub suspend_patients: usize,
}

/// What the detectors go by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Limits on unrelated patients; whichever is reached counts. The short one
    /// stops chart after chart well before the budget of a clinician (20 a
    /// minute) does; the long one sees who is patient.
    pub unrelated: Vec<UnrelatedLimit>,
    /// Roles that serve all patients of their organization, for whom no
    /// relationship is expected. An account of unknown role is held to one.
    pub unrelated_exempt_roles: Vec<String>,
    /// From this many refusals of one address within
    /// [`probing_window_ms`](Self::probing_window_ms) it is probing. A person
    /// who mistypes gives up, or is locked out, earlier.
    pub probing_refusals: usize,
    /// The span for refusals, in milliseconds.
    pub probing_window_ms: i64,
    /// How long after its last entry a finding still grows, in milliseconds:
    /// a day, so that one offender is one finding in a day's list.
    pub finding_window_ms: i64,
}

impl Default for Settings {
    fn default() -> Self {
        let limit = |window_ms, serious_patients, suspend_patients| UnrelatedLimit {
            window_ms,
            serious_patients,
            suspend_patients,
        };
        let exempt =
            ["laboratory-staff", "transcriptionist", "registrar", "privacy-officer", "system"];
        Self {
            unrelated: vec![limit(15 * MINUTE_MS, 8, 14), limit(24 * HOUR_MS, 40, 80)],
            unrelated_exempt_roles: exempt.map(String::from).to_vec(),
            probing_refusals: 10,
            probing_window_ms: 10 * MINUTE_MS,
            finding_window_ms: 24 * HOUR_MS,
        }
    }
}

impl Settings {
    /// The longest span that any limit on unrelated patients looks back.
    pub(crate) fn unrelated_window_max_ms(&self) -> i64 {
        self.unrelated.iter().map(|limit| limit.window_ms).max().unwrap_or(0)
    }
}
