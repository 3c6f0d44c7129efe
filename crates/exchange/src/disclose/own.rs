//! What is about no patient: the directory, which everybody who works on the exchange
//! may read, and an organization's own resources, which are its staff's alone.
//!
//! Invariants: the directory lies in a compartment of its own, with its own key, and has
//! these types only; an organization's other resources lie in another, which opens to its
//! staff alone, as far as policy opens any patient to them, and each look is an entry.

use std::sync::Arc;

use holdfast_base::{ClassSet, PatientId};
use holdfast_policy::{Act, Consent, Decision, Permit, Question, Relationship, decide};
use serde_json::Value;

use super::read::Opened;
use crate::admit::Subject;
use crate::people::Organization;
use crate::state::Exchange;
use crate::{Ask, ExchangeError};

/// Types that tell who and what there is. Only these lie open to everybody who works
/// on the exchange.
const DIRECTORY_TYPES: [&str; 8] = [
    "Endpoint",
    "HealthcareService",
    "Location",
    "Medication",
    "Organization",
    "OrganizationAffiliation",
    "Practitioner",
    "PractitionerRole",
];

/// Types that define something and are about nobody, whatever else a payload holds
/// (FHIR R4 metadatatypes, terminologies, conformance, substances).
const DEFINITIONS: [&str; 54] = [
    "ActivityDefinition",
    "CapabilityStatement",
    "CatalogEntry",
    "ChargeItemDefinition",
    "CodeSystem",
    "CompartmentDefinition",
    "ConceptMap",
    "DeviceDefinition",
    "EffectEvidenceSynthesis",
    "EventDefinition",
    "Evidence",
    "EvidenceVariable",
    "ExampleScenario",
    "GraphDefinition",
    "ImplementationGuide",
    "InsurancePlan",
    "Library",
    "Measure",
    "MedicationKnowledge",
    "MedicinalProduct",
    "MedicinalProductAuthorization",
    "MedicinalProductContraindication",
    "MedicinalProductIndication",
    "MedicinalProductIngredient",
    "MedicinalProductInteraction",
    "MedicinalProductManufactured",
    "MedicinalProductPackaged",
    "MedicinalProductPharmaceutical",
    "MedicinalProductUndesirableEffect",
    "MessageDefinition",
    "NamingSystem",
    "ObservationDefinition",
    "OperationDefinition",
    "PlanDefinition",
    "Questionnaire",
    "ResearchDefinition",
    "ResearchElementDefinition",
    "ResearchStudy",
    "RiskEvidenceSynthesis",
    "SearchParameter",
    "SpecimenDefinition",
    "StructureDefinition",
    "StructureMap",
    "Subscription",
    "Substance",
    "SubstanceNucleicAcid",
    "SubstancePolymer",
    "SubstanceProtein",
    "SubstanceReferenceInformation",
    "SubstanceSourceMaterial",
    "SubstanceSpecification",
    "TerminologyCapabilities",
    "TestScript",
    "ValueSet",
];

/// Types in the Patient compartment that may be about no patient at all.
const COLLECTIONS: [&str; 7] =
    ["Account", "Basic", "Composition", "DocumentManifest", "DocumentReference", "Group", "List"];

/// Elements that say whom a resource is about.
const ABOUT: [&str; 4] = ["subject", "patient", "beneficiary", "individual"];

/// Whether resources of the type are the directory's.
pub(crate) fn is_directory_type(resource_type: &str) -> bool {
    DIRECTORY_TYPES.contains(&resource_type)
}

/// Whether resources of the type are never about a patient.
pub(crate) fn is_about_no_patient(resource_type: &str) -> bool {
    is_directory_type(resource_type) || DEFINITIONS.binary_search(&resource_type).is_ok()
}

/// The element by which a resource of this type should say whom it is about, when it
/// does not: something clinical that leads to no chart is a fault of its sender.
fn missing_subject(resource: &Value) -> Option<String> {
    let name = resource["resourceType"].as_str()?;
    let definitions = holdfast_fhir::definitions();
    if COLLECTIONS.contains(&name) || definitions.compartment_parameters(name).is_empty() {
        return None;
    }
    let elements = definitions.elements(name);
    let about = ABOUT.iter().find(|about| elements.iter().any(|e| e.path == **about))?;
    resource[*about].is_null().then(|| format!("{name}.{about}"))
}

/// Nobody's, as the owner of a resource that names no patient.
///
/// # Errors
/// When it is of a type that has to name one.
pub(crate) fn nobodys(resource: &Value) -> Result<Subject, ExchangeError> {
    match missing_subject(resource) {
        Some(place) => Err(ExchangeError::EntryRefused {
            category: "missing",
            place,
            text: "has to name the patient or group that this is about",
        }),
        None => {
            let resource_type = resource["resourceType"].as_str().unwrap_or_default();
            Ok(Subject::nobody(compartment_of_nobody(resource_type)))
        }
    }
}

/// Where resources of the type lie that name no patient.
pub(crate) fn compartment_of_nobody(resource_type: &str) -> PatientId {
    if is_directory_type(resource_type) { PatientId::NONE } else { PatientId::OWN }
}

impl Exchange {
    /// The organization's own resources, as far as its people may see any patient's.
    pub(super) async fn open_own(
        &self,
        ask: &Ask,
        keeping: &Arc<Organization>,
        act: Act,
    ) -> Result<Opened, ExchangeError> {
        let permit = self.permit_own(ask, keeping, act).await?;
        let patient = PatientId::OWN;
        let asked = Ask { purpose: permit.purpose(), ..ask.clone() };
        let (classes, reason) = (permit.classes(), permit.reason());
        let keys = self.open_keys(&asked, keeping.id(), &[patient], classes, reason, true).await?;
        let keys = keys.get(&patient).cloned().ok_or(ExchangeError::NotFound)?;
        Ok(Opened { organization: Arc::clone(keeping), patient, keys, permit: Some(permit) })
    }

    /// What the caller may see of its organization's own resources: as much as of any
    /// patient there. To others they are not there.
    async fn permit_own(
        &self,
        ask: &Ask,
        keeping: &Organization,
        act: Act,
    ) -> Result<Permit, ExchangeError> {
        self.refuse_suspended(&ask.caller)?;
        let decision = decide(&Question {
            principal: &ask.caller.principal,
            purpose: ask.purpose,
            organization: keeping.id(),
            module: keeping.facts.module,
            act,
            relationship: Relationship::Organization,
            consent: Consent::NotStated,
            wanted: ClassSet::ALL,
            emergency: None,
        });
        let reason = match decision {
            Decision::Permit(permit) if ask.caller.organization() == keeping.id() => {
                return Ok(permit);
            }
            Decision::Permit(_) => "other-organization",
            Decision::Refuse(refusal) => refusal.reason,
        };
        self.append_refusal(ask.caller.actor(), "policy", reason).await?;
        Err(ExchangeError::NotFound)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn types_that_define_something_are_known_and_in_order() {
        for name in DEFINITIONS.iter().chain(&DIRECTORY_TYPES).chain(&COLLECTIONS) {
            assert!(holdfast_fhir::type_code(name).is_some(), "{name}");
        }
        assert!(DEFINITIONS.is_sorted());
        let in_compartment =
            |name: &&str| !holdfast_fhir::definitions().compartment_parameters(name).is_empty();
        assert_eq!(DEFINITIONS.iter().find(|name| in_compartment(name)), None);
    }

    #[test]
    fn what_is_clinical_has_to_say_whom_it_is_about() {
        let missing = |resource| missing_subject(&resource);
        let observation = json!({ "resourceType": "Observation" });
        assert_eq!(missing(observation).as_deref(), Some("Observation.subject"));
        let immunization = json!({ "resourceType": "Immunization" });
        assert_eq!(missing(immunization).as_deref(), Some("Immunization.patient"));
        let of_a_group =
            json!({ "resourceType": "Observation", "subject": { "reference": "Group/1" } });
        assert_eq!(missing(of_a_group), None);
        for name in ["ValueSet", "List", "Device", "Binary", "Bundle", "Composition"] {
            assert_eq!(missing(json!({ "resourceType": name })), None, "{name}");
        }
    }
}
