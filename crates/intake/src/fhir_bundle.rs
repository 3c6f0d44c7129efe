//! FHIR R4 bundles and single resources, taken apart for the exchange.
//!
//! Nothing is translated: resources stay as they came, but for references to
//! the bundle's patient, which become [`PATIENT_URL`].

use serde_json::Value;

use crate::converted::{
    BundleRequest, Converted, ConvertedResource, PATIENT_URL, PatientEvent, PayloadKind, Refusal,
};

/// Entries of one bundle that are taken.
const ENTRIES_COUNT_MAX: usize = 10_000;

/// Takes a Bundle (transaction, batch, collection, document, message, searchset,
/// history) or a single resource apart. What the entries of a transaction or batch
/// ask for stands beside their resources, Patients among them. The one Patient of any
/// other payload becomes [`Converted::patient`], without its `id`; references to it by
/// fullUrl or by `Patient/<id>` become [`PATIENT_URL`].
///
/// # Errors
/// [`Refusal`] when the value is no resource or bundle, a transaction or batch
/// entry has no request, or several Patients are in it.
pub fn convert_fhir(value: &Value) -> Result<Converted, Refusal> {
    let resource_type = resource_type(value)
        .ok_or_else(|| malformed("FHIR resource", "resourceType".to_owned()))?;
    if resource_type == "Bundle" { bundle(value) } else { Ok(single(value)) }
}

fn resource_type(value: &Value) -> Option<&str> {
    value.get("resourceType").and_then(Value::as_str).filter(|name| !name.is_empty())
}

fn malformed(what: &'static str, place: String) -> Refusal {
    Refusal::Malformed { what, place }
}

fn single(value: &Value) -> Converted {
    let mut converted = Converted { kind: PayloadKind::Resource, ..Converted::default() };
    let entry = Entry {
        place: 0,
        full_url: "urn:holdfast:1".to_owned(),
        request: None,
        resource: value.clone(),
    };
    place(vec![entry], &mut converted);
    converted
}

struct Entry {
    place: usize,
    full_url: String,
    request: Option<BundleRequest>,
    resource: Value,
}

impl Entry {
    fn is_patient(&self) -> bool {
        resource_type(&self.resource) == Some("Patient")
    }

    fn id(&self) -> Option<&str> {
        self.resource.get("id").and_then(Value::as_str)
    }

    fn converted(self) -> ConvertedResource {
        ConvertedResource {
            natural_key: natural_key(&self),
            full_url: self.full_url,
            request: self.request,
            entry: self.place,
            resource: self.resource,
        }
    }
}

fn bundle(value: &Value) -> Result<Converted, Refusal> {
    let kind = match value.get("type").and_then(Value::as_str) {
        Some("transaction") => PayloadKind::Transaction,
        Some("batch") => PayloadKind::Batch,
        Some("document") => PayloadKind::Document,
        Some("collection" | "searchset" | "history" | "message") => PayloadKind::Collection,
        Some(_) => return Err(Refusal::Unsupported { what: "this type of Bundle" }),
        None => return Err(malformed("FHIR bundle", "Bundle.type".to_owned())),
    };
    let entries = match value.get("entry") {
        None => &[][..],
        Some(Value::Array(entries)) => entries.as_slice(),
        Some(_) => return Err(malformed("FHIR bundle", "Bundle.entry".to_owned())),
    };
    if entries.len() > ENTRIES_COUNT_MAX {
        return Err(Refusal::TooLarge {
            what: "number of bundle entries",
            bound: ENTRIES_COUNT_MAX,
        });
    }
    let asks = matches!(kind, PayloadKind::Transaction | PayloadKind::Batch);
    let mut entries: Vec<Entry> = entries
        .iter()
        .enumerate()
        .map(|(place, entry)| read_entry(place, entry, asks))
        .collect::<Result<_, _>>()?;
    if value["type"] == "message" {
        // The header says how the message came; it is no part of anybody's record.
        entries.retain(|entry| resource_type(&entry.resource) != Some("MessageHeader"));
    }
    let mut converted = Converted { kind, ..Converted::default() };
    let identifier = value.get("identifier").and_then(|identifier| identifier.get("value"));
    converted.control_id = identifier.and_then(Value::as_str).map(str::to_owned);
    if asks {
        converted.resources = entries.into_iter().map(Entry::converted).collect();
        drop_shared_keys(&mut converted.resources);
        return Ok(converted);
    }
    let patients = entries.iter().filter(|entry| entry.is_patient()).count();
    if patients > 1 {
        return Err(Refusal::SeveralPatients { count: patients });
    }
    place(entries, &mut converted);
    Ok(converted)
}

fn read_entry(place: usize, entry: &Value, asks: bool) -> Result<Entry, Refusal> {
    let at = |part: &str| malformed("FHIR bundle", format!("Bundle.entry[{place}]{part}"));
    let request = match entry.get("request") {
        Some(request) if asks => {
            let text = |name: &str| request.get(name).and_then(Value::as_str).map(str::to_owned);
            let method = text("method").ok_or_else(|| at(".request.method"))?;
            if !["POST", "PUT", "DELETE", "GET", "HEAD", "PATCH"].contains(&method.as_str()) {
                return Err(at(".request.method"));
            }
            let url = text("url").ok_or_else(|| at(".request.url"))?;
            Some(BundleRequest {
                method,
                url,
                if_none_exist: text("ifNoneExist"),
                if_match: text("ifMatch"),
                if_none_match: text("ifNoneMatch"),
            })
        }
        None if asks => return Err(at(".request")),
        _ => None,
    };
    let resource = entry.get("resource").cloned().unwrap_or(Value::Null);
    let wants_none = request
        .as_ref()
        .is_some_and(|request| matches!(request.method.as_str(), "DELETE" | "GET" | "HEAD"));
    if resource_type(&resource).is_none() && !(wants_none && resource.is_null()) {
        return Err(at(".resource"));
    }
    let full_url = entry.get("fullUrl").and_then(Value::as_str).map(str::to_owned);
    let full_url = full_url.unwrap_or_else(|| format!("urn:holdfast:{}", place + 1));
    Ok(Entry { place, full_url, request, resource })
}

/// Sorts the entries into patient and rest and points references at the patient.
fn place(mut entries: Vec<Entry>, converted: &mut Converted) {
    let mut names = Vec::new();
    if let Some(found) = entries.iter().position(Entry::is_patient) {
        let mut entry = entries.remove(found);
        names.push(entry.full_url.clone());
        names.extend(entry.id().map(|id| format!("Patient/{id}")));
        if let Some(patient) = entry.resource.as_object_mut() {
            patient.shift_remove("id");
        }
        converted.patient_entry = Some(entry.place);
        converted.patient = Some(entry.resource);
        converted.event = PatientEvent::Update;
    }
    for mut entry in entries {
        point_at_patient(&mut entry.resource, &names);
        converted.resources.push(entry.converted());
    }
    drop_shared_keys(&mut converted.resources);
}

/// An identifier that several resources of one payload bear (an order number on
/// all its results) names none of them.
fn drop_shared_keys(resources: &mut [ConvertedResource]) {
    let mut counts = std::collections::HashMap::new();
    for key in resources.iter().filter_map(|resource| resource.natural_key.clone()) {
        *counts.entry(key).or_insert(0_usize) += 1;
    }
    for resource in resources {
        resource.natural_key.take_if(|key| counts.get(key).is_some_and(|count| *count > 1));
    }
}

/// A resource that names itself is the same the next time: by its id, or by its
/// first identifier with a system.
fn natural_key(entry: &Entry) -> Option<String> {
    let resource_type = resource_type(&entry.resource)?;
    if let Some(id) = entry.id() {
        return Some(crate::natural_key(resource_type, &["id", id]));
    }
    let identifier = entry.resource.get("identifier")?;
    let mut identifiers = match identifier {
        Value::Array(identifiers) => identifiers.iter(),
        one => std::slice::from_ref(one).iter(),
    };
    identifiers.find_map(|identifier| {
        let system = identifier.get("system")?.as_str()?;
        let value = identifier.get("value")?.as_str()?;
        Some(crate::natural_key(resource_type, &[system, value]))
    })
}

/// Rewrites every `reference` that is one of `names`.
fn point_at_patient(value: &mut Value, names: &[String]) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| point_at_patient(item, names)),
        Value::Object(object) => {
            for (name, member) in object.iter_mut() {
                match member {
                    Value::String(text) if name == "reference" && names.contains(text) => {
                        *text = PATIENT_URL.to_owned();
                    }
                    Value::Array(_) | Value::Object(_) => point_at_patient(member, names),
                    _ => {}
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn references_to_the_patient_of_a_collection_become_the_patients_url() {
        let converted = convert_fhir(&json!({
            "resourceType": "Bundle", "type": "collection",
            "entry": [
                {"fullUrl": "urn:uuid:2",
                 "resource": {"resourceType": "Observation", "subject": {"reference": "urn:uuid:1"}}},
                {"fullUrl": "urn:uuid:1", "resource": {"resourceType": "Patient", "id": "p"}},
            ]
        }))
        .expect("a good bundle");
        assert_eq!(converted.patient, Some(json!({"resourceType": "Patient"})));
        assert_eq!(converted.patient_entry, Some(1));
        let subject = &converted.resources[0].resource["subject"]["reference"];
        assert_eq!(subject, PATIENT_URL);
    }

    #[test]
    fn entries_of_a_transaction_stay_in_order_with_what_they_ask_for() {
        let converted = convert_fhir(&json!({
            "resourceType": "Bundle", "type": "transaction",
            "entry": [
                {"fullUrl": "urn:uuid:1", "request": {"method": "PUT", "url": "Patient/p", "ifNoneMatch": "*"},
                 "resource": {"resourceType": "Patient", "id": "p"}},
                {"request": {"method": "DELETE", "url": "Condition/9"}},
                {"request": {"method": "POST", "url": "Patient"}, "resource": {"resourceType": "Patient"}},
            ]
        }))
        .expect("a good bundle");
        assert!(converted.patient.is_none());
        let asked: Vec<_> = converted.resources.iter().filter_map(|r| r.request.as_ref()).collect();
        assert_eq!(asked.len(), 3);
        assert_eq!((&*asked[0].method, asked[0].if_none_match.as_deref()), ("PUT", Some("*")));
        assert!(converted.resources[1].resource.is_null());
        assert_eq!(converted.resources[2].entry, 2);
    }

    #[test]
    fn a_bundle_that_cannot_be_carried_out_is_refused_with_the_place() {
        let check = |value: Value, expected: &str| {
            let refusal = convert_fhir(&value).expect_err("refused");
            assert_eq!(refusal.to_string(), expected);
        };
        check(json!({"resourceType": "Bundle"}), "FHIR bundle is malformed at Bundle.type");
        check(
            json!({"resourceType": "Bundle", "type": "batch", "entry": [{"resource": {"resourceType": "Patient"}}]}),
            "FHIR bundle is malformed at Bundle.entry[0].request",
        );
        check(
            json!({"resourceType": "Bundle", "type": "collection", "entry": [{}]}),
            "FHIR bundle is malformed at Bundle.entry[0].resource",
        );
        check(json!({"name": "x"}), "FHIR resource is malformed at resourceType");
        let patient = json!({"resource": {"resourceType": "Patient"}});
        check(
            json!({"resourceType": "Bundle", "type": "collection", "entry": [patient, patient]}),
            "the payload is about several patients (2)",
        );
    }

    #[test]
    fn a_single_resource_is_a_payload_of_its_own() {
        let converted =
            convert_fhir(&json!({"resourceType": "Observation", "id": "7"})).expect("converts");
        assert_eq!(converted.kind, PayloadKind::Resource);
        assert_eq!(converted.resources[0].natural_key.as_deref(), Some("Observation|id|7"));
    }
}
