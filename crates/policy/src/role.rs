//! Who asks.

use holdfast_base::{OrganizationId, PatientId, PrincipalId};
use serde::{Deserialize, Serialize};

/// One person or one system, as it signed in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Principal {
    /// The account.
    pub id: PrincipalId,
    /// The organization that the account belongs to.
    pub organization: OrganizationId,
    /// What it does there.
    pub role: Role,
    /// For patients: the one record that is theirs. `None` for everybody else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patient: Option<(OrganizationId, PatientId)>,
}

macro_rules! named {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$variant_doc])* #[serde(rename = $text)] $variant,)*
        }

        impl $name {
            /// Every value, in the order of declaration.
            pub const ALL: &'static [$name] = &[$($name::$variant),*];

            /// The name that stands in entries, tokens and configuration.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $($name::$variant => $text,)*
                }
            }

            /// The value with this [`as_str`](Self::as_str) name.
            pub fn from_name(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|value| value.as_str() == name)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}
pub(crate) use named;

named!(
    /// What a principal does in its organization.
    Role {
        /// Physician, nurse practitioner, therapist: treats.
        Clinician = "clinician",
        /// Nurse, medical assistant: treats.
        Nurse = "nurse",
        /// Registers and identifies patients.
        Registrar = "registrar",
        /// Performs and reports laboratory work.
        LaboratoryStaff = "laboratory-staff",
        /// Types and corrects dictated reports.
        Transcriptionist = "transcriptionist",
        /// Treats and examines at an employer's on-site clinic.
        OccupationalClinician = "occupational-clinician",
        /// Manages at an employer. Never sees a patient's record.
        EmployerManager = "employer-manager",
        /// Answers for privacy: breach response, accounting of disclosures.
        PrivacyOfficer = "privacy-officer",
        /// Answers for security: watches, contains. Never sees a patient's record.
        SecurityOfficer = "security-officer",
        /// Runs accounts and settings. Never sees a patient's record.
        Administrator = "administrator",
        /// A patient, for their own record.
        Patient = "patient",
        /// An interface engine or the exchange itself at intake and delivery.
        System = "system",
    }
);

impl Role {
    /// Whether people of this role treat patients: whose accesses are measured
    /// against a documented relationship, and who may break the glass.
    pub const fn treats(self) -> bool {
        matches!(self, Self::Clinician | Self::Nurse | Self::OccupationalClinician)
    }
}
