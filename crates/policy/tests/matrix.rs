//! Every question there is, and what must hold for every answer.

use holdfast_base::{ClassSet, ElementClass, OrganizationId, PatientId, Purpose};
use holdfast_policy::rules::RULES;
use holdfast_policy::{
    Act, Consent, Decision, Module, Permit, Principal, Question, Relationship, Role, Task, decide,
    decide_task,
};

const PURPOSES: [Purpose; 8] = [
    Purpose::Treatment,
    Purpose::EmergencyTreatment,
    Purpose::PatientRequest,
    Purpose::Operations,
    Purpose::SystemAdministration,
    Purpose::Research,
    Purpose::PublicHealth,
    Purpose::Compliance,
];

fn organization(name: &str) -> OrganizationId {
    name.parse().expect("an organization id")
}

fn principal(role: Role) -> Principal {
    Principal {
        id: "somebody@lakeside".parse().expect("a principal id"),
        organization: organization("lakeside"),
        role,
        patient: (role == Role::Patient)
            .then(|| (organization("lakeside"), PatientId::from_bytes([7; 16]))),
    }
}

/// The wanted sets that matter: everything, nothing, each class alone.
fn wanted_sets() -> Vec<ClassSet> {
    let single = ElementClass::ALL.into_iter().map(ClassSet::of);
    [ClassSet::ALL, ClassSet::EMPTY].into_iter().chain(single).collect()
}

/// Asks every question, and hands each to `claim` with its answer.
fn walk(mut claim: impl FnMut(&Question<'_>, &Decision)) -> usize {
    let (own, other) = (organization("lakeside"), organization("mercy"));
    let wanted_sets = wanted_sets();
    let mut asked = 0;
    for role in Role::ALL {
        let principal = principal(*role);
        for purpose in PURPOSES {
            for relationship in Relationship::ALL {
                for module in Module::ALL {
                    for act in Act::ALL {
                        for organization in [&own, &other] {
                            for consent in Consent::ALL {
                                for emergency in [None, Some("unconscious")] {
                                    for wanted in &wanted_sets {
                                        let question = Question {
                                            principal: &principal,
                                            purpose,
                                            organization,
                                            module: *module,
                                            act: *act,
                                            relationship: *relationship,
                                            consent: *consent,
                                            wanted: *wanted,
                                            emergency,
                                        };
                                        claim(&question, &decide(&question));
                                        asked += 1;
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
    asked
}

fn permits(mut claim: impl FnMut(&Question<'_>, &Permit)) {
    let mut permitted = 0;
    let asked = walk(|question, decision| {
        if let Decision::Permit(permit) = decision {
            permitted += 1;
            claim(question, permit);
        }
    });
    assert!(permitted > 1_000 && permitted < asked / 20, "{permitted} of {asked} are permitted");
}

/// What holds for each permit, as one list: the walk is long, so it is made once.
#[test]
fn every_permit_of_the_whole_matrix_keeps_the_invariants() {
    use ElementClass::{Clinical, Document, GovernmentId, Identity, Restricted};
    let mut used = std::collections::BTreeSet::new();
    permits(|q, permit| {
        let (role, classes) = (q.principal.role, permit.classes());
        let own = q.principal.organization == *q.organization;
        let opens = |class| classes.contains(class);
        used.insert(permit.reason());

        // Bound to the question.
        assert!(!classes.is_empty() && q.wanted.contains_all(classes), "{q:?}");
        assert_eq!(permit.principal(), &q.principal.id);
        assert_eq!(permit.organization(), q.organization);
        assert_eq!((permit.act(), permit.relationship()), (q.act, q.relationship));
        assert!(q.act != Act::Write || classes == q.wanted, "writing is all or nothing: {q:?}");

        // Roles that run or manage never open a record.
        let never = [Role::EmployerManager, Role::SecurityOfficer, Role::Administrator];
        assert!(!never.contains(&role), "{q:?}");

        // Purposes that nobody has a rule for.
        let purposes = [Purpose::Research, Purpose::PublicHealth, Purpose::SystemAdministration];
        assert!(!purposes.contains(&q.purpose), "{q:?}");

        // Government identifiers.
        assert_eq!(permit.may_see_government_id(), opens(GovernmentId));
        if opens(GovernmentId) {
            let allowed = match role {
                Role::PrivacyOfficer => q.purpose == Purpose::Compliance && q.act != Act::Write,
                Role::Registrar => q.purpose == Purpose::Operations,
                Role::System => q.act == Act::Write,
                _ => false,
            };
            assert!(allowed && own, "{q:?}");
        }

        // Restricted parts.
        if opens(Restricted) {
            let team = matches!(role, Role::Clinician | Role::Nurse)
                && q.relationship == Relationship::CareTeam;
            let intake = role == Role::System && q.act == Act::Write;
            assert!(own && (team || intake), "{q:?}");
        }

        // Across organizations.
        if !own {
            assert!(q.act != Act::Write && q.act != Act::Deliver, "{q:?}");
            assert!(!opens(GovernmentId) && !opens(Restricted), "{q:?}");
            if q.act == Act::Notify {
                assert_eq!((role, classes), (Role::PrivacyOfficer, ClassSet::of(Identity)));
            } else {
                assert!(matches!(role, Role::Clinician | Role::Nurse), "{q:?}");
                assert_ne!(q.consent, Consent::OptedOutEvenInEmergency, "{q:?}");
                let linked = permit.purpose() == Purpose::Treatment
                    && q.relationship == Relationship::LinkedOrganization
                    && q.consent != Consent::OptedOut;
                assert!(linked || permit.is_emergency(), "{q:?}");
            }
        }

        // Breaking the glass: loud, with a reason, by those who treat.
        assert_eq!(permit.is_emergency(), permit.purpose() == Purpose::EmergencyTreatment);
        if permit.is_emergency() {
            assert!(role.treats() && q.emergency.is_some(), "{q:?}");
        }

        // No relationship: only the glass, intake and the privacy office.
        if q.relationship == Relationship::None {
            let office = matches!(role, Role::PrivacyOfficer | Role::System);
            assert!(office || permit.is_emergency(), "{q:?}");
        }

        // Each role in its place.
        match role {
            Role::Registrar => assert!(own && !opens(Clinical) && !opens(Document), "{q:?}"),
            Role::Transcriptionist => assert!(own && !opens(Clinical), "{q:?}"),
            Role::LaboratoryStaff => assert!(own, "{q:?}"),
            Role::OccupationalClinician => assert!(own && q.module == Module::Employer, "{q:?}"),
            Role::Clinician | Role::Nurse => assert!(!own || q.module != Module::Employer, "{q:?}"),
            Role::PrivacyOfficer => {
                assert!(q.purpose == Purpose::Compliance && q.act != Act::Write, "{q:?}");
                assert!(!opens(Clinical) && !opens(Document), "{q:?}");
            }
            Role::System => {
                assert!(own && matches!(q.act, Act::Write | Act::Deliver | Act::Export), "{q:?}");
                assert!(q.act != Act::Export || q.module != Module::Employer, "{q:?}");
            }
            Role::Patient => {
                assert!(own && q.relationship == Relationship::SelfRecord, "{q:?}");
                assert!(matches!(q.act, Act::Read | Act::Search), "{q:?}");
                assert_eq!(q.purpose, Purpose::PatientRequest);
            }
            Role::EmployerManager | Role::SecurityOfficer | Role::Administrator => unreachable!(),
        }
        assert!(q.relationship != Relationship::SelfRecord || role == Role::Patient, "{q:?}");
    });
    let all: std::collections::BTreeSet<_> = RULES.iter().map(|rule| rule.code).collect();
    assert_eq!(used, all, "every rule permits something, under its own name");
    assert_eq!(all.len(), RULES.len(), "rule names are unique");
}

/// No two rows can fit the same question, so the reason is never a matter of order.
#[test]
fn no_two_rules_overlap() {
    use holdfast_policy::rules::Place;
    fn meet<T: PartialEq>(a: &[T], b: &[T]) -> bool {
        a.iter().any(|x| b.contains(x))
    }
    for (place, a) in RULES.iter().enumerate() {
        for b in &RULES[place + 1..] {
            let places = a.place == b.place || a.place == Place::Any || b.place == Place::Any;
            let overlap = places
                && meet(a.roles, b.roles)
                && meet(a.acts, b.acts)
                && meet(a.purposes, b.purposes)
                && meet(a.modules, b.modules)
                && meet(a.relationships, b.relationships);
            assert!(!overlap, "{} and {}", a.code, b.code);
        }
    }
}

/// Asking for less never turns a refusal into a wider permit, and the classes
/// of a permit do not depend on what else was asked for (writing excepted).
#[test]
fn a_permit_is_the_cut_of_what_is_open_and_what_is_wanted() {
    let mut open = ClassSet::EMPTY;
    walk(|q, decision| {
        if q.act == Act::Write {
            return;
        }
        if q.wanted == ClassSet::ALL {
            open = match decision {
                Decision::Permit(permit) => permit.classes(),
                Decision::Refuse(_) => ClassSet::EMPTY,
            };
        }
        let got = match decision {
            Decision::Permit(permit) => permit.classes(),
            Decision::Refuse(_) => ClassSet::EMPTY,
        };
        assert_eq!(got, q.wanted.intersection(open), "{q:?}");
    });
}

fn ask(role: Role, change: impl FnOnce(&mut Question<'_>)) -> Result<Permit, &'static str> {
    let (principal, own) = (principal(role), organization("lakeside"));
    let mut question = Question {
        principal: &principal,
        purpose: Purpose::Treatment,
        organization: &own,
        module: Module::Practice,
        act: Act::Read,
        relationship: Relationship::Organization,
        consent: Consent::NotStated,
        wanted: ClassSet::ALL,
        emergency: None,
    };
    change(&mut question);
    decide(&question).into_result().map_err(|refusal| refusal.reason)
}

#[test]
fn a_refusal_names_the_first_thing_that_does_not_fit() {
    let mercy = organization("mercy");
    type Change<'a> = Box<dyn Fn(&mut Question<'_>) + 'a>;
    let elsewhere = |q: &mut Question<'_>| {
        q.relationship = Relationship::LinkedOrganization;
    };
    let cases: Vec<(Role, Change<'_>, &str)> = vec![
        (Role::EmployerManager, Box::new(|_| ()), "role-opens-no-record"),
        (Role::Administrator, Box::new(|_| ()), "role-opens-no-record"),
        (Role::System, Box::new(|_| ()), "act-not-for-role"),
        (Role::Clinician, Box::new(|q| q.act = Act::Notify), "act-not-for-role"),
        (Role::Clinician, Box::new(|q| q.purpose = Purpose::Research), "purpose-not-for-role"),
        (Role::Clinician, Box::new(elsewhere), "no-relationship"),
        (Role::Clinician, Box::new(|q| q.module = Module::Employer), "module-not-for-role"),
        (
            Role::Clinician,
            Box::new(|q| q.wanted = ClassSet::of(ElementClass::Restricted)),
            "classes-not-permitted",
        ),
        (Role::Clinician, Box::new(|q| q.act = Act::Write), "classes-not-permitted"),
        (
            Role::Nurse,
            Box::new(|q| q.purpose = Purpose::EmergencyTreatment),
            "emergency-reason-missing",
        ),
        (Role::Nurse, Box::new(|q| q.emergency = Some("  ")), "emergency-reason-missing"),
        (Role::Patient, Box::new(|q| q.purpose = Purpose::PatientRequest), "no-relationship"),
    ];
    for (role, change, reason) in cases {
        assert_eq!(ask(role, change).map(|p| p.classes()), Err(reason), "{role}");
    }

    let principal = principal(Role::Clinician);
    let mut question = Question {
        principal: &principal,
        purpose: Purpose::Treatment,
        organization: &mercy,
        module: Module::Hospital,
        act: Act::Read,
        relationship: Relationship::LinkedOrganization,
        consent: Consent::OptedOut,
        wanted: ClassSet::ALL,
        emergency: None,
    };
    let reason =
        |q: &Question<'_>| decide(q).into_result().map(|p| p.reason()).map_err(|r| r.reason);
    assert_eq!(reason(&question), Err("opted-out"));
    question.emergency = Some("unconscious, no history");
    assert_eq!(reason(&question), Ok("emergency-elsewhere"));
    question.consent = Consent::OptedOutEvenInEmergency;
    assert_eq!(reason(&question), Err("opted-out"));
    question.emergency = None;
    question.act = Act::Write;
    assert_eq!(reason(&question), Err("other-organization"));
}

#[test]
fn a_patient_account_without_a_record_opens_nothing() {
    let mut nobody = principal(Role::Patient);
    nobody.patient = None;
    let own = organization("lakeside");
    let decision = decide(&Question {
        principal: &nobody,
        purpose: Purpose::PatientRequest,
        organization: &own,
        module: Module::Practice,
        act: Act::Read,
        relationship: Relationship::SelfRecord,
        consent: Consent::OptedIn,
        wanted: ClassSet::ALL,
        emergency: None,
    });
    assert_eq!(decision.into_result().map_err(|r| r.reason), Err("other-organization"));
}

#[test]
fn a_permit_can_only_be_narrowed() {
    let permit = ask(Role::Clinician, |_| ()).expect("own chart");
    let clinical = ClassSet::of(ElementClass::Clinical);
    let narrow = permit.narrowed(clinical).expect("clinical is open");
    assert_eq!(narrow.classes(), clinical);
    assert_eq!(narrow.narrowed(ClassSet::ALL).map(|p| p.classes()), Some(clinical));
    assert_eq!(narrow.narrowed(ClassSet::of(ElementClass::Identity)), None);
}

#[test]
fn tasks_go_to_those_who_run_and_watch_and_to_nobody_who_treats() {
    for role in Role::ALL {
        for task in Task::ALL {
            let granted = decide_task(&principal(*role), *task).is_ok();
            let expected = match task {
                Task::Accounts => *role == Role::Administrator,
                Task::Backup => matches!(role, Role::Administrator | Role::SecurityOfficer),
                Task::Budgets => *role == Role::SecurityOfficer,
                Task::Forgetting | Task::Payloads => *role == Role::PrivacyOfficer,
                Task::Messages => {
                    matches!(role, Role::Administrator | Role::Registrar | Role::PrivacyOfficer)
                }
                Task::Subscriptions => {
                    matches!(role, Role::Administrator | Role::SecurityOfficer)
                }
                Task::BulkJobs => matches!(
                    role,
                    Role::Administrator | Role::SecurityOfficer | Role::PrivacyOfficer
                ),
                Task::Ledger | Task::AuditEvents => {
                    matches!(role, Role::SecurityOfficer | Role::PrivacyOfficer)
                }
                Task::Containment | Task::Incidents => {
                    matches!(role, Role::SecurityOfficer | Role::PrivacyOfficer | Role::System)
                }
            };
            assert_eq!(granted, expected, "{role} {task}");
        }
    }
}

#[test]
fn names_survive_text_and_json() {
    for role in Role::ALL {
        assert_eq!(Role::from_name(role.as_str()), Some(*role));
        let json = serde_json::to_string(role).expect("serialises");
        assert_eq!(json, format!("\"{role}\""));
        assert_eq!(serde_json::from_str::<Role>(&json).expect("parses"), *role);
    }
    assert_eq!(Role::from_name("root"), None);
}
