//! The rules, as a table. A question is permitted by the one row that fits it
//! in every column; what fits no row is refused. Changing who may see what is
//! changing this file and nothing else.
//!
//! What is deliberately absent: any row for employer managers, security
//! officers or administrators; any row for research, public health or system
//! administration; a row that opens `restricted` to anybody but the patient's
//! own care team (intake writes it and cannot read it); a row that opens
//! government identifiers to anybody who treats.

use holdfast_base::{ClassSet, ElementClass as Class, Purpose};

use crate::{Act, Consent, Module, Relationship, Role};

/// Where the record is kept, seen from the principal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In the principal's own organization.
    Own,
    /// In another organization.
    Other,
    /// In either.
    Any,
}

/// Which consents stop a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConsentNeed {
    /// None: consent to exchange has no bearing here.
    Ignored,
    /// The patient has not opted out of exchange.
    NotOptedOut,
    /// The patient has not opted out of exchange in emergencies.
    NotOptedOutInEmergency,
}

impl ConsentNeed {
    /// Whether a patient's `consent` leaves the row open.
    pub fn is_met(self, consent: Consent) -> bool {
        match self {
            Self::Ignored => true,
            Self::NotOptedOut => matches!(consent, Consent::NotStated | Consent::OptedIn),
            Self::NotOptedOutInEmergency => consent != Consent::OptedOutEvenInEmergency,
        }
    }
}

/// One row.
#[derive(Debug)]
pub struct Rule {
    /// Name of the rule: the reason in permits and key releases.
    pub code: &'static str,
    /// Who.
    pub roles: &'static [Role],
    /// What is done.
    pub acts: &'static [Act],
    /// What for.
    pub purposes: &'static [Purpose],
    /// Where the record is kept.
    pub place: Place,
    /// What that organization does.
    pub modules: &'static [Module],
    /// How the principal stands to the patient.
    pub relationships: &'static [Relationship],
    /// What the patient must not have said.
    pub consent: ConsentNeed,
    /// Whether the glass must be broken, with a reason given.
    pub emergency: bool,
    /// What it opens.
    pub classes: ClassSet,
}

const READ: &[Act] = &[Act::Read, Act::Search];
const WORK: &[Act] = &[Act::Read, Act::Search, Act::Write];

const ANYWHERE: &[Module] = Module::ALL;
/// An employer's on-site clinic has occupational clinicians and no other staff
/// that treats: a `clinician` account made there opens nothing.
const CARE: &[Module] =
    &[Module::Practice, Module::Hospital, Module::Laboratory, Module::Transcription];

const REGISTERED: &[Relationship] = &[Relationship::CareTeam, Relationship::Organization];
const ANY_STAFF: &[Relationship] = &[
    Relationship::CareTeam,
    Relationship::Organization,
    Relationship::LinkedOrganization,
    Relationship::None,
];

const IDENTITY: ClassSet = ClassSet::of(Class::Identity);
const IDENTIFYING: ClassSet = IDENTITY.with(Class::GovernmentId);
const DICTATION: ClassSet = IDENTITY.with(Class::Document);
const CHART: ClassSet = IDENTITY.with(Class::Clinical).with(Class::Document);
const WHOLE_CHART: ClassSet = CHART.with(Class::Restricted);

/// The table.
pub const RULES: &[Rule] = &[
    // ── Treatment inside an organization ─────────────────────────────────────
    Rule {
        code: "care-team",
        roles: &[Role::Clinician, Role::Nurse],
        acts: WORK,
        purposes: &[Purpose::Treatment],
        place: Place::Own,
        modules: CARE,
        relationships: &[Relationship::CareTeam],
        consent: ConsentNeed::Ignored,
        emergency: false,
        classes: WHOLE_CHART,
    },
    Rule {
        code: "own-organization",
        roles: &[Role::Clinician, Role::Nurse],
        acts: WORK,
        purposes: &[Purpose::Treatment],
        place: Place::Own,
        modules: CARE,
        relationships: &[Relationship::Organization],
        consent: ConsentNeed::Ignored,
        emergency: false,
        classes: CHART,
    },
    // An on-site clinic is paid by the employer: it opens no restricted part.
    Rule {
        code: "occupational-health",
        roles: &[Role::OccupationalClinician],
        acts: WORK,
        purposes: &[Purpose::Treatment],
        place: Place::Own,
        modules: &[Module::Employer],
        relationships: REGISTERED,
        consent: ConsentNeed::Ignored,
        emergency: false,
        classes: CHART,
    },
    // ── Treatment across organizations ───────────────────────────────────────
    Rule {
        code: "linked-organization",
        roles: &[Role::Clinician, Role::Nurse],
        acts: READ,
        purposes: &[Purpose::Treatment],
        place: Place::Other,
        modules: ANYWHERE,
        relationships: &[Relationship::LinkedOrganization],
        consent: ConsentNeed::NotOptedOut,
        emergency: false,
        classes: CHART,
    },
    // Results, reports and notices of admission to those who treat elsewhere.
    Rule {
        code: "delivery",
        roles: &[Role::System],
        acts: &[Act::Deliver],
        purposes: &[Purpose::Treatment],
        place: Place::Own,
        modules: ANYWHERE,
        relationships: &[Relationship::LinkedOrganization],
        consent: ConsentNeed::NotOptedOut,
        emergency: false,
        classes: CHART,
    },
    // ── Breaking the glass ───────────────────────────────────────────────────
    Rule {
        code: "emergency-care-team",
        roles: &[Role::Clinician, Role::Nurse],
        acts: WORK,
        purposes: &[Purpose::EmergencyTreatment],
        place: Place::Own,
        modules: CARE,
        relationships: &[Relationship::CareTeam],
        consent: ConsentNeed::Ignored,
        emergency: true,
        classes: WHOLE_CHART,
    },
    Rule {
        code: "emergency",
        roles: &[Role::Clinician, Role::Nurse],
        acts: WORK,
        purposes: &[Purpose::EmergencyTreatment],
        place: Place::Own,
        modules: CARE,
        relationships: &[Relationship::Organization, Relationship::None],
        consent: ConsentNeed::Ignored,
        emergency: true,
        classes: CHART,
    },
    Rule {
        code: "emergency-occupational-health",
        roles: &[Role::OccupationalClinician],
        acts: WORK,
        purposes: &[Purpose::EmergencyTreatment],
        place: Place::Own,
        modules: &[Module::Employer],
        relationships: &[Relationship::CareTeam, Relationship::Organization, Relationship::None],
        consent: ConsentNeed::Ignored,
        emergency: true,
        classes: CHART,
    },
    Rule {
        code: "emergency-elsewhere",
        roles: &[Role::Clinician, Role::Nurse],
        acts: READ,
        purposes: &[Purpose::EmergencyTreatment],
        place: Place::Other,
        modules: ANYWHERE,
        relationships: &[Relationship::LinkedOrganization, Relationship::None],
        consent: ConsentNeed::NotOptedOutInEmergency,
        emergency: true,
        classes: CHART,
    },
    // ── Work around treatment, inside an organization ────────────────────────
    Rule {
        code: "registration",
        roles: &[Role::Registrar],
        acts: WORK,
        purposes: &[Purpose::Operations],
        place: Place::Own,
        modules: ANYWHERE,
        relationships: REGISTERED,
        consent: ConsentNeed::Ignored,
        emergency: false,
        classes: IDENTIFYING,
    },
    Rule {
        code: "laboratory-work",
        roles: &[Role::LaboratoryStaff],
        acts: WORK,
        purposes: &[Purpose::Treatment, Purpose::Operations],
        place: Place::Own,
        modules: &[Module::Laboratory, Module::Hospital, Module::Practice],
        relationships: REGISTERED,
        consent: ConsentNeed::Ignored,
        emergency: false,
        classes: CHART,
    },
    Rule {
        code: "dictation-work",
        roles: &[Role::Transcriptionist],
        acts: WORK,
        purposes: &[Purpose::Treatment, Purpose::Operations],
        place: Place::Own,
        modules: &[Module::Transcription, Module::Hospital, Module::Practice],
        relationships: REGISTERED,
        consent: ConsentNeed::Ignored,
        emergency: false,
        classes: DICTATION,
    },
    // ── Intake ───────────────────────────────────────────────────────────────
    Rule {
        code: "intake",
        roles: &[Role::System],
        acts: &[Act::Write],
        purposes: &[Purpose::Operations],
        place: Place::Own,
        modules: ANYWHERE,
        relationships: ANY_STAFF,
        consent: ConsentNeed::Ignored,
        emergency: false,
        classes: ClassSet::ALL,
    },
    // Events of the own organization's records, to a system of its own.
    Rule {
        code: "subscription",
        roles: &[Role::System],
        acts: &[Act::Deliver],
        purposes: &[Purpose::Operations],
        place: Place::Own,
        modules: CARE,
        relationships: &[Relationship::Organization],
        consent: ConsentNeed::Ignored,
        emergency: false,
        classes: CHART,
    },
    // ── Bulk export ──────────────────────────────────────────────────────────
    // A backend service, under a grant by two people. People export what they may
    // read. An employer's clinic exports nothing to its employer's systems.
    Rule {
        code: "bulk-export",
        roles: &[Role::System],
        acts: &[Act::Export],
        purposes: &[Purpose::Operations, Purpose::Treatment],
        place: Place::Own,
        modules: CARE,
        relationships: &[Relationship::Organization],
        consent: ConsentNeed::Ignored,
        emergency: false,
        classes: CHART,
    },
    // ── Privacy office ───────────────────────────────────────────────────────
    Rule {
        code: "compliance",
        roles: &[Role::PrivacyOfficer],
        acts: READ,
        purposes: &[Purpose::Compliance],
        place: Place::Own,
        modules: ANYWHERE,
        relationships: ANY_STAFF,
        consent: ConsentNeed::Ignored,
        emergency: false,
        classes: IDENTIFYING,
    },
    // A business associate names the individuals to each client: 45 CFR 164.410(c).
    Rule {
        code: "breach-notice",
        roles: &[Role::PrivacyOfficer],
        acts: &[Act::Notify],
        purposes: &[Purpose::Compliance],
        place: Place::Any,
        modules: ANYWHERE,
        relationships: ANY_STAFF,
        consent: ConsentNeed::Ignored,
        emergency: false,
        classes: IDENTITY,
    },
    // ── Patients ─────────────────────────────────────────────────────────────
    // Right of access, 45 CFR 164.524. The restricted class holds psychotherapy
    // notes, which (a)(1)(i) excepts: it is released by a person, not here.
    Rule {
        code: "own-record",
        roles: &[Role::Patient],
        acts: READ,
        purposes: &[Purpose::PatientRequest],
        place: Place::Own,
        modules: ANYWHERE,
        relationships: &[Relationship::SelfRecord],
        consent: ConsentNeed::Ignored,
        emergency: false,
        classes: CHART,
    },
];
