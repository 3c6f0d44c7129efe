//! Purposes of use (HL7 v3 ActReason, value set PurposeOfUse).

use serde::{Deserialize, Serialize};

/// Why somebody asks. Codes are those of
/// `http://terminology.hl7.org/CodeSystem/v3-ActReason`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Purpose {
    /// Treatment.
    #[serde(rename = "TREAT")]
    Treatment,
    /// Emergency treatment: the break-glass purpose.
    #[serde(rename = "ETREAT")]
    EmergencyTreatment,
    /// The patient's own request.
    #[serde(rename = "PATRQT")]
    PatientRequest,
    /// Health care operations, intake of messages among them.
    #[serde(rename = "HOPERAT")]
    Operations,
    /// Running the platform: accounts, keys, drills.
    #[serde(rename = "HSYSADMIN")]
    SystemAdministration,
    /// Clinical trial research.
    #[serde(rename = "CLINTRCH")]
    Research,
    /// Public health reporting.
    #[serde(rename = "PUBHLTH")]
    PublicHealth,
    /// Privacy office: investigating a breach and telling those concerned.
    #[serde(rename = "HCOMPL")]
    Compliance,
}

impl Purpose {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Treatment,
        Self::EmergencyTreatment,
        Self::PatientRequest,
        Self::Operations,
        Self::SystemAdministration,
        Self::Research,
        Self::PublicHealth,
        Self::Compliance,
    ];

    /// The ActReason code.
    pub fn code(self) -> &'static str {
        match self {
            Self::Treatment => "TREAT",
            Self::EmergencyTreatment => "ETREAT",
            Self::PatientRequest => "PATRQT",
            Self::Operations => "HOPERAT",
            Self::SystemAdministration => "HSYSADMIN",
            Self::Research => "CLINTRCH",
            Self::PublicHealth => "PUBHLTH",
            Self::Compliance => "HCOMPL",
        }
    }

    /// The purpose with this ActReason code.
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|purpose| purpose.code() == code)
    }
}

impl std::fmt::Display for Purpose {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.code())
    }
}
