//! From a decided transaction to its draft.

use std::collections::HashSet;

use holdfast_base::PatientId;
use holdfast_fhir::patch::{PatchError, fhirpath_patch, json_patch};
use holdfast_fhir::{references, rewrite_references};
use holdfast_store::ResourceKey;
use serde_json::{Value, json};

use super::asked::Method;
use super::plan::{Deed, Plan, Step};
use super::refuse;
use crate::admit::draft::{Draft, Known, PatientWrite, Slot, Writing};
use crate::admit::subject::Changes;
use crate::admit::{Arrival, Written, is_error};
use crate::state::Exchange;
use crate::{ExchangeError, cover};

/// What stands where a step writes.
struct Before {
    key: ResourceKey,
    current: Option<(u64, holdfast_base::Timestamp)>,
    body: Option<Value>,
    was: Option<holdfast_keeper::PostedResource>,
}

impl Exchange {
    /// Seals everything that a transaction writes.
    pub(super) async fn draft_plan(
        &self,
        arrival: &Arrival<'_>,
        plan: Plan<'_>,
    ) -> Result<Draft, ExchangeError> {
        let Plan { mut steps, urls, issues } = plan;
        let mut draft = Draft { issues, ..Draft::default() };
        let writes = |step: &&Step<'_>| !matches!(step.deed, Deed::Keep | Deed::Nothing);
        let owners = steps.iter().filter(writes).map(|step| &step.owner);
        let keys = self.keys_for_writing(arrival, owners).await.map_err(|error| match error {
            // Whether a record is there is not told to those who may not write to it.
            ExchangeError::NotFound => {
                let entry = steps.first().map_or(0, |step| step.asked.entry);
                refuse("not-found", entry, "", "is not there, or may not be written")
            }
            other => other,
        })?;
        let writing = Writing { arrival, urls, keys, now: self.now() };
        let patients: Vec<PatientId> = steps
            .iter()
            .filter(writes)
            .filter(|step| step.asked.kind == "Patient")
            .map(|step| step.owner.patient)
            .collect();
        if let [only] = patients.as_slice() {
            draft.main = Some(*only);
        }
        for step in steps.iter_mut().filter(|step| step.deed == Deed::Patch) {
            self.patch(&writing, step)?;
        }
        for step in &steps {
            match (step.deed, step.asked.kind) {
                (Deed::Keep | Deed::Nothing, _) => draft.written.push(unchanged(step)),
                (Deed::Delete, kind) => {
                    if kind == "Patient" {
                        self.delete_patient(&writing, step, &steps, &mut draft)?;
                    }
                    self.delete(&writing, step, &mut draft)?;
                }
                (_, "Patient") => {
                    let changes = self.changes_of(&writing, step, &steps, patients.len());
                    // A registration adds to what is known; an update says how it is.
                    let adds = step.asked.method == Method::Create || !arrival.interaction;
                    let known = if adds { Known::TakenOver } else { Known::Replaced };
                    let (entry, patient) = (step.asked.entry, &step.resource);
                    let subject = &step.owner;
                    let write = PatientWrite { entry, patient, subject, changes, known };
                    self.draft_patient(&writing, write, &mut draft)?;
                }
                _ => self.write(&writing, step, &mut draft)?,
            }
        }
        for keys in writing.keys.values() {
            cover::cover(&arrival.organization, keys, writing.now, &mut draft)?;
        }
        Ok(draft)
    }

    /// What is stored where a step writes.
    fn before(&self, writing: &Writing<'_>, step: &Step<'_>) -> Result<Before, ExchangeError> {
        let arrival = writing.arrival;
        let keys = writing.keys_of(step.owner.patient)?;
        let key = self.key_of(arrival, step.owner.patient, step.asked.kind, &step.id)?;
        let stored = self.store().snapshot().current(&key).map_err(ExchangeError::store)?;
        let alive = stored.as_ref().filter(|stored| !stored.sealed.deleted);
        let body = alive
            .map(|stored| self.open_body(arrival.organization.id(), &step.id, stored, keys))
            .transpose()?
            .map(|(body, _)| body);
        let was = self.posted(&arrival.organization, alive, keys)?;
        let current = stored.map(|stored| (stored.sealed.version, stored.sealed.last_updated));
        // Somebody else was here since it was decided.
        let planned = step.standing.and_then(|standing| standing.version);
        if current.map(|(version, _)| version) != planned {
            return Err(ExchangeError::Conflict);
        }
        Ok(Before { key, current, body, was })
    }

    fn write(
        &self,
        writing: &Writing<'_>,
        step: &Step<'_>,
        draft: &mut Draft,
    ) -> Result<(), ExchangeError> {
        let Before { key, current, body, was } = self.before(writing, step)?;
        let (entry, id) = (step.asked.entry, &*step.id);
        let slot = Slot { entry, key, id, current, before: body, was, deletes: false };
        self.put(writing, slot, step.resource.clone(), draft)
    }

    fn delete(
        &self,
        writing: &Writing<'_>,
        step: &Step<'_>,
        draft: &mut Draft,
    ) -> Result<(), ExchangeError> {
        let Before { key, current, body, was } = self.before(writing, step)?;
        let (entry, id) = (step.asked.entry, &*step.id);
        let slot = Slot { entry, key, id, current, before: body, was, deletes: true };
        self.put(writing, slot, json!({ "resourceType": step.asked.kind }), draft)
    }

    /// Takes a Patient out of the directory. Its record has to be empty by then: what
    /// would be left leads to nobody.
    fn delete_patient(
        &self,
        writing: &Writing<'_>,
        step: &Step<'_>,
        steps: &[Step<'_>],
        draft: &mut Draft,
    ) -> Result<(), ExchangeError> {
        let organization = &writing.arrival.organization;
        let patient = step.owner.patient;
        let mut going = HashSet::new();
        for other in steps.iter().filter(|other| other.deed == Deed::Delete) {
            if other.owner.patient == patient {
                let key = self.key_of(writing.arrival, patient, other.asked.kind, &other.id)?;
                going.insert(key);
            }
        }
        let snapshot = self.store().snapshot();
        for row in snapshot.scan_current(organization.ordinal, patient, None) {
            let row = row.map_err(ExchangeError::store)?;
            let stays = !row.deleted && !going.contains(&row.key);
            if stays && !cover::is_stand_in(organization, &row.key) {
                let text = "is a Patient whose record has resources: delete them first, \
                            or in the same transaction";
                return Err(refuse("conflict", step.asked.entry, ".request.url", text));
            }
        }
        let listing = step.owner.known.as_deref().ok_or(ExchangeError::Conflict)?;
        let mut listing = listing.clone();
        listing.deleted = true;
        listing.updated = writing.now;
        if let Some(before) = self.before(writing, step)?.body {
            self.unlocate(organization, &before, &[], patient, draft)?;
        }
        draft.rows.push(listing.row(self.features_key(), organization.ordinal)?);
        draft.listings.push(listing);
        Ok(())
    }

    /// Applies a step's patch to what is stored; the result is written like any
    /// resource that came whole.
    fn patch(&self, writing: &Writing<'_>, step: &mut Step<'_>) -> Result<(), ExchangeError> {
        let entry = step.asked.entry;
        let before = self.before(writing, step)?.body.ok_or(ExchangeError::Conflict)?;
        let mut patched = patched(&before, &step.asked.source.resource)
            .map_err(|(part, text)| refuse("unprocessable", entry, &part, text))?;
        let same = |name: &str| patched[name] == before[name];
        if !patched.is_object() || !same("resourceType") || !same("id") {
            let text = "would change the type or the id of the resource";
            return Err(refuse("unprocessable", entry, ".resource", text));
        }
        rewrite_references(&mut patched, &|url| writing.urls.get(url).cloned());
        if let Some(issue) = holdfast_fhir::validate(&patched).into_iter().find(is_error) {
            return Err(ExchangeError::EntryRefused {
                category: "unprocessable",
                place: issue.expression,
                text: "would not be valid after the patch",
            });
        }
        let owner = step.owner.patient;
        if !owner.is_nobody() && step.asked.kind != "Patient" {
            let about = |resource| holdfast_fhir::compartment_patient(resource).into_iter().next();
            if about(&patched) != about(&before) {
                let text = "would move the resource to another record";
                return Err(refuse("moved", entry, ".resource", text));
            }
        }
        step.resource = patched;
        Ok(())
    }

    /// Who treats a patient and whether there was a visit, by the transaction: all of
    /// it when it has one Patient, else what refers to them.
    fn changes_of(
        &self,
        writing: &Writing<'_>,
        step: &Step<'_>,
        steps: &[Step<'_>],
        patients_count: usize,
    ) -> Changes {
        let mut changes = Changes::default();
        let writes = steps.iter().filter(|other| other.deed == Deed::Write);
        if patients_count == 1 {
            writes.for_each(|other| self.add_change(&other.resource, writing.now, &mut changes));
            return changes;
        }
        let own = |other: &&Step<'_>| other.owner.patient == step.owner.patient;
        let mut named = HashSet::new();
        for other in writes.clone().filter(own) {
            self.add_change(&other.resource, writing.now, &mut changes);
            named.extend(references(&other.resource));
        }
        for other in writes.filter(|other| other.asked.kind == "Practitioner") {
            if named.contains(format!("Practitioner/{}", other.id).as_str()) {
                self.add_change(&other.resource, writing.now, &mut changes);
            }
        }
        changes
    }
}

/// What a patch makes of a resource: JSON Patch in a Binary, FHIRPath Patch in
/// Parameters. Where it cannot be applied, the place in the entry and why.
fn patched(before: &Value, patch: &Value) -> Result<Value, (String, &'static str)> {
    let in_entry = |error: PatchError| (format!(".resource {}", error.place), error.text);
    if patch["resourceType"] == "Parameters" {
        return fhirpath_patch(before, patch).map_err(in_entry);
    }
    let wrong = |part: &str, text| (format!(".resource.{part}"), text);
    if patch["contentType"] != "application/json-patch+json" {
        return Err(wrong("contentType", "has to be application/json-patch+json"));
    }
    let data = patch["data"].as_str().unwrap_or_default();
    let bytes = data_encoding::BASE64
        .decode(data.as_bytes())
        .map_err(|_| wrong("data", "is not base64"))?;
    let operations = serde_json::from_slice(&bytes).map_err(|_| wrong("data", "is not JSON"))?;
    json_patch(before, &operations).map_err(in_entry)
}

/// What is said of a step that writes nothing.
fn unchanged(step: &Step<'_>) -> Written {
    let standing = step.standing;
    Written {
        entry: step.asked.entry,
        resource_type: step.asked.kind.to_owned(),
        id: step.id.clone(),
        version: standing.and_then(|standing| standing.version).unwrap_or(0),
        created: false,
        changed: false,
        deleted: step.deed == Deed::Nothing,
        last_updated: standing.map_or(holdfast_base::Timestamp::from_millis(0), |s| s.last_updated),
    }
}
