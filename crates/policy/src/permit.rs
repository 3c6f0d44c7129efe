//! The authority to open something, as a value.

use holdfast_base::{ClassSet, ElementClass, OrganizationId, PrincipalId, Purpose};

use crate::{Act, Question, Relationship, rules::Rule};

/// What a principal may open, and why. Only [`decide`](crate::decide) makes one.
///
/// Nobody else can write one down:
///
/// ```compile_fail,E0451
/// use holdfast_base::{ClassSet, Purpose};
/// use holdfast_policy::{Act, Permit, Relationship};
/// let forged = Permit {
///     principal: "x".parse().unwrap(),
///     organization: "x".parse().unwrap(),
///     act: Act::Read,
///     purpose: Purpose::Treatment,
///     relationship: Relationship::CareTeam,
///     classes: ClassSet::ALL,
///     reason: "because",
///     emergency: false,
/// };
/// ```
///
/// or get one from a default, or from bytes:
///
/// ```compile_fail,E0277
/// fn defaulted<T: Default>() -> T { T::default() }
/// let forged: holdfast_policy::Permit = defaulted();
/// ```
/// ```compile_fail,E0277
/// let forged: holdfast_policy::Permit = serde_json::from_str("{}").unwrap();
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a permit that is not used opens nothing"]
pub struct Permit {
    principal: PrincipalId,
    organization: OrganizationId,
    act: Act,
    purpose: Purpose,
    relationship: Relationship,
    classes: ClassSet,
    reason: &'static str,
    emergency: bool,
}

impl Permit {
    pub(crate) fn mint(question: &Question<'_>, rule: &Rule, classes: ClassSet) -> Self {
        Self {
            principal: question.principal.id.clone(),
            organization: question.organization.clone(),
            act: question.act,
            purpose: crate::decide::effective_purpose(question),
            relationship: question.relationship,
            classes,
            reason: rule.code,
            emergency: rule.emergency,
        }
    }

    /// Whom it is for.
    pub fn principal(&self) -> &PrincipalId {
        &self.principal
    }

    /// Whose records: the organization that keeps them.
    pub fn organization(&self) -> &OrganizationId {
        &self.organization
    }

    /// What may be done.
    pub fn act(&self) -> Act {
        self.act
    }

    /// What for; [`Purpose::EmergencyTreatment`] when the glass was broken.
    pub fn purpose(&self) -> Purpose {
        self.purpose
    }

    /// How the principal stands to the patient, as the question said.
    pub fn relationship(&self) -> Relationship {
        self.relationship
    }

    /// The element classes that may be opened; never empty, never more than
    /// were wanted.
    pub fn classes(&self) -> ClassSet {
        self.classes
    }

    /// The code of the rule that permits it, for key releases.
    pub fn reason(&self) -> &'static str {
        self.reason
    }

    /// Whether the glass was broken: the access must be shown to the privacy
    /// office and reviewed.
    pub fn is_emergency(&self) -> bool {
        self.emergency
    }

    /// Whether social security numbers and the like may be shown in full.
    pub fn may_see_government_id(&self) -> bool {
        self.classes.contains(ElementClass::GovernmentId)
    }

    /// The same permit for no more than `classes`; `None` when nothing is left.
    #[must_use]
    pub fn narrowed(&self, classes: ClassSet) -> Option<Self> {
        let classes = self.classes.intersection(classes);
        (!classes.is_empty()).then(|| Self { classes, ..self.clone() })
    }
}
