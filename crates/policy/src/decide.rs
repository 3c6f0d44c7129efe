//! Looking a question up in the table.

use holdfast_base::Purpose;

use crate::rules::{Place, RULES, Rule};
use crate::{Act, Permit, Question, Refusal, Role};

/// The answer to a [`Question`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It may be done, for the classes that the permit names.
    Permit(Permit),
    /// It may not.
    Refuse(Refusal),
}

impl Decision {
    /// The permit, or the refusal as an error.
    ///
    /// # Errors
    /// The refusal.
    pub fn into_result(self) -> Result<Permit, Refusal> {
        match self {
            Self::Permit(permit) => Ok(permit),
            Self::Refuse(refusal) => Err(refusal),
        }
    }
}

/// The purpose that a question really has: treatment with the glass broken is
/// emergency treatment.
pub(crate) fn effective_purpose(question: &Question<'_>) -> Purpose {
    match (question.purpose, question.emergency) {
        (Purpose::Treatment, Some(_)) => Purpose::EmergencyTreatment,
        (purpose, _) => purpose,
    }
}

/// The organization whose records are the principal's own to ask about: for a
/// patient, the one that keeps their record.
fn is_own(question: &Question<'_>) -> bool {
    match (&question.principal.role, &question.principal.patient) {
        (Role::Patient, Some((keeper, _))) => keeper == question.organization,
        (Role::Patient, None) => false,
        _ => question.principal.organization == *question.organization,
    }
}

fn reason_given(question: &Question<'_>) -> bool {
    question.emergency.is_some_and(|reason| !reason.trim().is_empty())
}

/// What a row has to fit, in the order in which refusals name it, each with the
/// refusal when no row is left.
type Column = (fn(&Rule, &Question<'_>) -> bool, Refusal);

const COLUMNS: &[Column] = &[
    (
        |rule, q| rule.roles.contains(&q.principal.role),
        Refusal::new("role-opens-no-record", "this role never opens a patient's record"),
    ),
    (
        |rule, q| rule.acts.contains(&q.act),
        Refusal::new("act-not-for-role", "this role does not do this to a record"),
    ),
    (
        |rule, q| rule.purposes.contains(&effective_purpose(q)),
        Refusal::new("purpose-not-for-role", "this role does not act for this purpose"),
    ),
    (
        |rule, q| match rule.place {
            Place::Any => true,
            Place::Own => is_own(q),
            Place::Other => !is_own(q),
        },
        Refusal::new("other-organization", "another organization keeps the record"),
    ),
    (
        |rule, q| rule.modules.contains(&q.module),
        Refusal::new("module-not-for-role", "this role does no such work at this organization"),
    ),
    (
        |rule, q| rule.relationships.contains(&q.relationship),
        Refusal::new("no-relationship", "no documented relationship allows it"),
    ),
    (
        |rule, q| rule.consent.is_met(q.consent),
        Refusal::new("opted-out", "the patient has opted out of exchange"),
    ),
    (
        |rule, q| !rule.emergency || reason_given(q),
        Refusal::new("emergency-reason-missing", "an emergency needs a reason"),
    ),
];

const CLASSES: Refusal = Refusal::new(
    "classes-not-permitted",
    "the parts that were asked for are not open to this role",
);

/// Answers `question`. Reading, searching, delivering and notifying narrow to
/// the classes that are open, and are refused when none is; writing is all or
/// nothing, because a half-written record is a wrong one.
///
/// ```
/// use holdfast_base::{ClassSet, ElementClass, Purpose};
/// use holdfast_policy::*;
///
/// let lakeside = "lakeside-family".parse()?;
/// let doctor = Principal {
///     id: "dr.okafor@lakeside-family".parse()?,
///     organization: "lakeside-family".parse()?,
///     role: Role::Clinician,
///     patient: None,
/// };
/// let decision = decide(&Question {
///     principal: &doctor,
///     purpose: Purpose::Treatment,
///     organization: &lakeside,
///     module: Module::Practice,
///     act: Act::Read,
///     relationship: Relationship::Organization,
///     consent: Consent::NotStated,
///     wanted: ClassSet::ALL,
///     emergency: None,
/// });
/// let permit = decision.into_result()?;
/// assert_eq!(permit.reason(), "own-organization");
/// assert!(permit.classes().contains(ElementClass::Clinical));
/// assert!(!permit.may_see_government_id());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn decide(question: &Question<'_>) -> Decision {
    let mut fitting: Vec<&Rule> = RULES.iter().collect();
    for (fits, otherwise) in COLUMNS {
        fitting.retain(|rule| fits(rule, question));
        if fitting.is_empty() {
            return Decision::Refuse(*otherwise);
        }
    }
    let Some(rule) = fitting.first() else { return Decision::Refuse(CLASSES) };
    let classes = question.wanted.intersection(rule.classes);
    let short = question.act == Act::Write && classes != question.wanted;
    if classes.is_empty() || short {
        return Decision::Refuse(CLASSES);
    }
    Decision::Permit(Permit::mint(question, rule, classes))
}
