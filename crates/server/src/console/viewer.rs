//! Who reads a page, from who asks.

use holdfast_base::OrganizationId;
use holdfast_exchange::{Ask, Role};

use super::page::{Place, Viewer};
use crate::state::AppState;

/// The reader of a page.
pub(super) fn viewer(state: &AppState, ask: &Ask) -> Viewer {
    let caller = &ask.caller;
    Viewer {
        name: caller.display_name().to_owned(),
        organization: name_of(state, caller.organization()),
        role: role_words(caller.role()).to_owned(),
        places: places(caller.role()),
    }
}

/// The name of an organization; its id when there is none.
pub(super) fn name_of(state: &AppState, id: &OrganizationId) -> String {
    named(state)(id.as_str())
}

/// Organizations by name, asked once for a page.
pub(super) fn named(state: &AppState) -> impl Fn(&str) -> String + use<> {
    let views = state.exchange.organization_views();
    move |id| {
        let known = views.iter().find(|view| view.id.as_str() == id);
        known.map_or_else(|| id.to_owned(), |view| view.name.clone())
    }
}

/// The parts of the console that a role has use for. Policy decides what each may
/// do there; this only leaves out what would be refused.
pub(super) fn places(role: Role) -> Vec<Place> {
    match role {
        Role::Clinician | Role::Nurse | Role::OccupationalClinician => {
            vec![Place::Patients, Place::Inbox]
        }
        Role::Registrar => vec![Place::Patients, Place::Reviews, Place::Messages],
        Role::LaboratoryStaff | Role::Transcriptionist | Role::Patient => vec![Place::Patients],
        Role::PrivacyOfficer => vec![Place::Office, Place::Patients, Place::Messages],
        Role::SecurityOfficer => vec![Place::Office],
        Role::Administrator => vec![Place::Accounts, Place::Messages, Place::Reviews],
        Role::EmployerManager | Role::System => Vec::new(),
    }
}

pub(super) fn role_words(role: Role) -> &'static str {
    match role {
        Role::Clinician => "Clinician",
        Role::Nurse => "Nurse",
        Role::Registrar => "Registrar",
        Role::LaboratoryStaff => "Laboratory",
        Role::Transcriptionist => "Transcription",
        Role::OccupationalClinician => "Occupational clinician",
        Role::EmployerManager => "Manager",
        Role::PrivacyOfficer => "Privacy officer",
        Role::SecurityOfficer => "Security officer",
        Role::Administrator => "Administrator",
        Role::Patient => "Patient",
        Role::System => "System",
    }
}
