//! Which role may ask the keeper for what. Policy in the front process decides
//! about records; this table is the keeper's own, much coarser word, and holds
//! when the front process says whatever somebody wants it to say.

use crate::budget::FRONT_ROLE;

/// What the keeper can be asked for by somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    /// Keys of patients, within budget.
    Release,
    /// Search over all patients of the own organization.
    SearchPopulation,
    /// An organization's keys.
    CreateOrganization,
    /// Make a principal, reset its secrets, close it.
    Principals,
    /// Give an administrator who lost them new secrets.
    RecoverAdministrator,
    /// Destroy a patient's key.
    Forget,
    /// Change a budget.
    Budget,
    /// Suspend: fails safe, so the machine may do it by itself.
    Suspend,
    /// Lift a suspension.
    Lift,
    /// Propose, approve, revoke and list bulk grants.
    Grants,
    /// Rotate keys, put the root under another guard, escrow it.
    ChangeKeys,
    /// Make a backup.
    Backup,
    /// Open a kept payload to look at it.
    ShowPayload,
    /// Whatever a live session alone allows: to be checked and closed.
    OwnSession,
}

/// Role of whoever sets a new exchange up. No principal can have it.
pub(super) const SET_UP_ROLE: &str = "set-up";

/// Role of whoever shows the passphrase or PIN that opens the root. No principal can
/// have it, and no session stands for it.
pub(super) const OPERATOR_ROLE: &str = "operator";

const READERS: &[&str] = &[
    "clinician",
    "nurse",
    "registrar",
    "laboratory-staff",
    "transcriptionist",
    "occupational-clinician",
    "employer-manager",
    "privacy-officer",
    "security-officer",
    "administrator",
    "patient",
    "system",
    FRONT_ROLE,
];

/// Staff who work with many records; not people who see their own, and not the
/// front process by itself.
const SEARCHERS: &[&str] = &[
    "clinician",
    "nurse",
    "registrar",
    "laboratory-staff",
    "transcriptionist",
    "occupational-clinician",
    "privacy-officer",
    "system",
];

/// Everybody who is not named here is refused.
const RULES: &[(Act, &[&str])] = &[
    (Act::Release, READERS),
    (Act::SearchPopulation, SEARCHERS),
    (Act::CreateOrganization, &["administrator", SET_UP_ROLE]),
    (Act::Principals, &["administrator", SET_UP_ROLE]),
    (Act::RecoverAdministrator, &[OPERATOR_ROLE]),
    (Act::Forget, &["privacy-officer"]),
    (Act::Budget, &["security-officer"]),
    (Act::Suspend, &["security-officer", "privacy-officer", FRONT_ROLE]),
    (Act::Lift, &["security-officer", "privacy-officer"]),
    (Act::Grants, &["security-officer", "privacy-officer", "administrator"]),
    (Act::ChangeKeys, &[OPERATOR_ROLE]),
    (Act::Backup, &["administrator", "security-officer"]),
    (Act::ShowPayload, &["privacy-officer"]),
    (Act::OwnSession, READERS),
];

/// Whether `role` may do `act`.
pub(super) fn permits(act: Act, role: &str) -> bool {
    RULES.iter().any(|(of, roles)| *of == act && roles.contains(&role))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_may_suspend_and_never_lift_raise_or_grant() {
        assert!(permits(Act::Suspend, FRONT_ROLE) && permits(Act::Release, FRONT_ROLE));
        for act in [
            Act::CreateOrganization,
            Act::Principals,
            Act::Forget,
            Act::Budget,
            Act::Lift,
            Act::Grants,
            Act::ChangeKeys,
            Act::Backup,
            Act::RecoverAdministrator,
            Act::ShowPayload,
        ] {
            assert!(!permits(act, FRONT_ROLE), "{act:?}");
            for reader in ["clinician", "nurse", "patient", "system", "registrar", "wizard", ""] {
                assert!(!permits(act, reader), "{act:?} {reader}");
            }
        }
        for nobody in [FRONT_ROLE, SET_UP_ROLE, OPERATOR_ROLE, "patient", "administrator"] {
            assert!(!permits(Act::SearchPopulation, nobody), "{nobody}");
        }
        for role in READERS {
            assert!(!permits(Act::ChangeKeys, role), "{role}");
            assert!(!permits(Act::RecoverAdministrator, role), "{role}");
        }
        assert!(!permits(Act::ShowPayload, "administrator"));
        assert!(!permits(Act::Principals, OPERATOR_ROLE));
        assert!(!permits(Act::Release, OPERATOR_ROLE));
        assert!(!permits(Act::Release, SET_UP_ROLE) && !permits(Act::Release, "wizard"));
    }
}
