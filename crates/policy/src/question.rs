//! What is asked.

use holdfast_base::{ClassSet, OrganizationId, Purpose};
use serde::{Deserialize, Serialize};

use crate::Principal;
use crate::role::named;

named!(
    /// What the organization that keeps a record does.
    Module {
        /// Family and specialist physicians.
        Practice = "practice",
        /// A hospital.
        Hospital = "hospital",
        /// A laboratory.
        Laboratory = "laboratory",
        /// A transcription service.
        Transcription = "transcription",
        /// The on-site clinic of an employer.
        Employer = "employer",
        /// Runs the exchange, and treats nobody.
        Operator = "operator",
    }
);

named!(
    /// What is to be done with the record.
    Act {
        /// Return a version of a known resource.
        Read = "read",
        /// Return matches of a search.
        Search = "search",
        /// Store a version.
        Write = "write",
        /// Send to an organization that is linked to the patient; the
        /// question's relationship is then that of the recipient.
        Deliver = "deliver",
        /// Compose a notice or an accounting of disclosures.
        Notify = "notify",
        /// Write to the files of a bulk export, under a bulk grant of the keeper.
        Export = "export",
    }
);

named!(
    /// How the principal stands to the patient. The names are those of the
    /// ledger's access entries.
    Relationship {
        /// It is the principal's own record.
        SelfRecord = "self",
        /// The principal is documented as treating the patient: an encounter,
        /// an order, an appointment or a care team names them.
        CareTeam = "care-team",
        /// The patient is a patient of the principal's organization.
        Organization = "organization",
        /// The patient is known to the principal's organization and, by a link
        /// of the master patient index, to the one that keeps this record.
        LinkedOrganization = "linked-organization",
        /// None that is documented.
        None = "none",
    }
);

named!(
    /// What the patient said about exchange between organizations. It has no
    /// bearing on use inside the organization that keeps the record.
    Consent {
        /// Nothing; the exchange is opt-out.
        NotStated = "not-stated",
        /// Others may read for treatment.
        OptedIn = "opted-in",
        /// Others may read in an emergency only.
        OptedOut = "opted-out",
        /// Others may never read, an emergency included.
        OptedOutEvenInEmergency = "opted-out-even-in-emergency",
    }
);

/// One question to [`decide`](crate::decide). Facts only: whoever asks has
/// looked them up and answers for them.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// Who asks.
    pub principal: &'a Principal,
    /// What for.
    pub purpose: Purpose,
    /// The organization that keeps the record.
    pub organization: &'a OrganizationId,
    /// What that organization does.
    pub module: Module,
    /// What is to be done.
    pub act: Act,
    /// How the principal stands to the patient.
    pub relationship: Relationship,
    /// What the patient said about exchange.
    pub consent: Consent,
    /// The element classes asked for.
    pub wanted: ClassSet,
    /// Why the glass is broken, in the words of who breaks it. With
    /// [`Purpose::Treatment`] it turns the purpose into
    /// [`Purpose::EmergencyTreatment`]. The text itself never enters a permit:
    /// it may say something about the patient.
    pub emergency: Option<&'a str>,
}
