//! From converted resources to one sealed transaction.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use holdfast_base::{ClassSet, ElementClass, PatientId, Timestamp};
use holdfast_fhir::search;
use holdfast_intake::{Converted, ConvertedResource, Format, Issue, PATIENT_URL, PatientEvent};
use holdfast_keeper::{Delta, PatientKeys, PostedResource, SealContext};
use holdfast_ledger::Touch;
use holdfast_policy::{Act, Decision, Role};
use holdfast_store::{Precondition, ResourceKey, RowWrite, SealedVersion, Table};
use serde_json::{Map, Value, json};

use super::subject::{Changes, Subject};
use super::{Arrival, Matched, Written};
use crate::directory::Listing;
use crate::disclose::{is_about_no_patient, nobodys};
use crate::packing;
use crate::people::Organization;
use crate::population;
use crate::sizes::{self, Labels};
use crate::state::Exchange;
use crate::subscribe::News;
use crate::{Ask, ExchangeError, cover};

/// Identifier system of the National Provider Identifier.
const NPI_SYSTEM: &str = "http://hl7.org/fhir/sid/us-npi";

/// A transaction in the making, with what the ledger will say of it.
#[derive(Default)]
pub(crate) struct Draft {
    pub puts: Vec<(ResourceKey, SealedVersion)>,
    pub rows: Vec<RowWrite>,
    pub preconditions: Vec<Precondition>,
    pub touches: BTreeMap<PatientId, Vec<Touch>>,
    /// What was deleted.
    pub removed: BTreeMap<PatientId, Vec<Touch>>,
    pub written: Vec<Written>,
    pub listings: Vec<Listing>,
    pub issues: Vec<Issue>,
    pub matched: Matched,
    /// Places among `listings` of records about whose person somebody has to decide.
    pub reviews: Vec<usize>,
    /// What changes in the index over all patients.
    pub delta: Delta,
    /// What those who listen are to be told of.
    pub news: Vec<News>,
    /// Patient of the payload, when it has one.
    pub main: Option<PatientId>,
}

/// A resource that is placed: whose it is and which id it has.
struct Placed<'a> {
    source: &'a ConvertedResource,
    subject: Subject,
    id: String,
}

/// What every step of a draft goes by.
pub(super) struct Writing<'a> {
    pub arrival: &'a Arrival<'a>,
    /// Where the payload's own references lead.
    pub urls: HashMap<String, String>,
    pub keys: HashMap<PatientId, Arc<PatientKeys>>,
    pub now: Timestamp,
}

impl Writing<'_> {
    pub fn keys_of(&self, patient: PatientId) -> Result<&PatientKeys, ExchangeError> {
        let keys = self.keys.get(&patient).ok_or(ExchangeError::Internal("keys not fetched"))?;
        Ok(keys)
    }
}

/// Where a version goes, and what stands there.
pub(super) struct Slot<'a> {
    /// Place in the payload.
    pub entry: usize,
    pub key: ResourceKey,
    pub id: &'a str,
    /// The current version's number and time, deleted or not.
    pub current: Option<(u64, Timestamp)>,
    /// What it says, unless it is deleted.
    pub before: Option<Value>,
    /// What it has in the index over all patients.
    pub was: Option<PostedResource>,
    /// Whether the new version says that the resource is deleted.
    pub deletes: bool,
}

/// A Patient to be written.
pub(super) struct PatientWrite<'a> {
    pub entry: usize,
    pub patient: &'a Value,
    pub subject: &'a Subject,
    pub changes: Changes,
    /// What becomes of what is known.
    pub known: Known,
}

/// What a Patient that comes in means for the one that is stored.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    /// It only names the patient: what is stored stays.
    Stays,
    /// The new one counts, with the identifiers of both.
    TakenOver,
    /// The new one counts alone.
    Replaced,
}

impl Exchange {
    /// Builds the transaction of a converted payload. Reads the store as it is
    /// now; the preconditions make sure that it still is when it is committed.
    pub(crate) async fn draft(
        &self,
        arrival: &Arrival<'_>,
        converted: &Converted,
    ) -> Result<Draft, ExchangeError> {
        let organization = &arrival.organization;
        let mut draft = Draft::default();

        let patient = converted.patient.as_ref();
        let subject = self.subject_of(organization, converted)?;
        let mut urls: HashMap<String, String> = HashMap::new();
        if let Some(subject) = &subject {
            draft.main = Some(subject.patient);
            urls.insert(PATIENT_URL.into(), format!("Patient/{}", subject.logical_id));
        }
        let placed = self.place_all(arrival, converted, subject.as_ref(), &mut urls)?;
        let owners = subject.iter().chain(placed.iter().map(|placed| &placed.subject));
        let keys = self.keys_for_writing(arrival, owners).await?;
        let writing = Writing { arrival, urls, keys, now: self.now() };

        if let (Some(patient), Some(subject)) = (patient, &subject) {
            // A payload that only names its patient does not overwrite what is known.
            let only_names =
                converted.event == PatientEvent::None && arrival.format != Format::Fhir;
            let write = PatientWrite {
                entry: converted.patient_entry.unwrap_or(0),
                patient,
                subject,
                changes: self.changes(converted, writing.now),
                known: if only_names { Known::Stays } else { Known::TakenOver },
            };
            self.draft_patient(&writing, write, &mut draft)?;
            if let PatientEvent::Merge { retired } = &converted.event {
                self.draft_merge(arrival, retired, subject, &mut draft).await?;
            }
        }
        for item in &placed {
            self.draft_resource(&writing, item, &mut draft)?;
        }
        for keys in writing.keys.values() {
            cover::cover(organization, keys, writing.now, &mut draft)?;
        }
        Ok(draft)
    }

    /// Decides for every resource whose it is and which id it has.
    fn place_all<'a>(
        &self,
        arrival: &Arrival<'_>,
        converted: &'a Converted,
        subject: Option<&Subject>,
        urls: &mut HashMap<String, String>,
    ) -> Result<Vec<Placed<'a>>, ExchangeError> {
        let mut placed = Vec::new();
        for source in &converted.resources {
            let resource_type = source.resource_type();
            if holdfast_fhir::type_code(resource_type).is_none() {
                continue;
            }
            let owner = self.owner(arrival, &source.resource, subject)?;
            let id = match &source.natural_key {
                Some(natural) => self.stable_id(arrival, &owner, natural),
                None => holdfast_base::RequestId::random().to_string(),
            };
            urls.insert(source.full_url.clone(), format!("{resource_type}/{id}"));
            placed.push(Placed { source, subject: owner, id });
        }
        Ok(placed)
    }

    /// Whose record a resource belongs to.
    fn owner(
        &self,
        arrival: &Arrival<'_>,
        resource: &Value,
        subject: Option<&Subject>,
    ) -> Result<Subject, ExchangeError> {
        let Some(reference) = holdfast_fhir::compartment_patient(resource).into_iter().next()
        else {
            // What names no patient is the payload's patient's, unless it is of a kind
            // that is about no patient.
            let resource_type = resource["resourceType"].as_str().unwrap_or_default();
            return match subject {
                Some(subject) if !is_about_no_patient(resource_type) => Ok(subject.clone()),
                _ => nobodys(resource),
            };
        };
        if let Some(subject) = subject
            && (reference == PATIENT_URL || reference == format!("Patient/{}", subject.logical_id))
        {
            return Ok(subject.clone());
        }
        let located = if let Some(query) = reference.strip_prefix("Patient?identifier=") {
            let (system, value) = query.split_once('|').unwrap_or(("", query));
            let identifier = json!({"system": system, "value": value});
            let key = self.identifier_key(&arrival.organization, &identifier);
            key.map(|key| self.located_by(&key)).transpose()?.flatten()
        } else {
            self.locate(&arrival.organization, &reference)?
        };
        let patient = located.ok_or(ExchangeError::NotFound)?;
        self.known_subject(&arrival.organization, patient)
    }

    pub(super) fn located_by(&self, key: &[u8]) -> Result<Option<PatientId>, ExchangeError> {
        let row = self.store().snapshot().row(Table::Locate, key).map_err(ExchangeError::store)?;
        let bytes = row.and_then(|value| <[u8; 16]>::try_from(value.as_slice()).ok());
        Ok(bytes.map(PatientId::from_bytes))
    }

    /// The id that the same thing of the same patient has in every message.
    pub(super) fn stable_id(
        &self,
        arrival: &Arrival<'_>,
        owner: &Subject,
        natural_key: &str,
    ) -> String {
        let mut named = owner.patient.as_bytes().to_vec();
        named.extend_from_slice(natural_key.as_bytes());
        data_encoding::HEXLOWER
            .encode(&arrival.organization.keys.token.token("natural-key", &named))
    }

    /// Fetches the keys of everybody whom the payload writes about, after policy
    /// has permitted it.
    pub(super) async fn keys_for_writing<'s>(
        &self,
        arrival: &Arrival<'_>,
        owners: impl Iterator<Item = &'s Subject>,
    ) -> Result<HashMap<PatientId, Arc<PatientKeys>>, ExchangeError> {
        let mut seen = HashSet::new();
        let mut wanted = Vec::new();
        for owner in owners {
            if !seen.insert(owner.patient) {
                continue;
            }
            if !owner.patient.is_nobody() {
                self.may_write(arrival.ask, owner).await?;
            }
            wanted.push(owner.patient);
        }
        self.open_keys(
            arrival.ask,
            arrival.organization.id(),
            &wanted,
            ClassSet::ALL,
            "intake",
            true,
        )
        .await
    }

    pub(super) async fn may_write(&self, ask: &Ask, owner: &Subject) -> Result<(), ExchangeError> {
        if ask.caller.role() == Role::System {
            return Ok(());
        }
        let Some(listing) = &owner.known else { return Ok(()) };
        let wanted = ClassSet::of(ElementClass::Identity);
        let relationship = self.relationship(&ask.caller, listing);
        match self.decide(ask, listing, Act::Write, wanted, relationship)? {
            Decision::Permit(_) => Ok(()),
            Decision::Refuse(refusal) => {
                let actor = ask.caller.actor();
                self.append_refusal(actor, "policy", refusal.reason).await?;
                Err(ExchangeError::NotFound)
            }
        }
    }

    /// Who treats the patient, and whether there was a visit.
    fn changes(&self, converted: &Converted, now: Timestamp) -> Changes {
        let mut changes = Changes::default();
        for source in &converted.resources {
            self.add_change(&source.resource, now, &mut changes);
        }
        for hint in converted.notice.iter().flat_map(|notice| &notice.recipients_hint) {
            if let Some(npi) = hint.strip_prefix(NPI_SYSTEM).and_then(|h| h.strip_prefix('|')) {
                changes.care_team.insert(self.npi_token(npi));
            }
        }
        changes
    }

    /// What a resource says of who treats its patient, and whether there was a visit.
    pub(super) fn add_change(&self, resource: &Value, now: Timestamp, changes: &mut Changes) {
        match resource["resourceType"].as_str() {
            Some("Practitioner") => {
                let identifiers = resource["identifier"].as_array().into_iter().flatten();
                let npis = identifiers.filter(|i| i["system"] == NPI_SYSTEM);
                let npis = npis.filter_map(|i| i["value"].as_str());
                changes.care_team.extend(npis.map(|npi| self.npi_token(npi)));
            }
            Some("Encounter") => changes.visit = Some(now),
            _ => {}
        }
    }

    pub(super) fn draft_patient(
        &self,
        writing: &Writing<'_>,
        write: PatientWrite<'_>,
        draft: &mut Draft,
    ) -> Result<(), ExchangeError> {
        let Writing { arrival, urls, now, .. } = writing;
        let PatientWrite { entry, patient, subject, changes, known } = write;
        let organization = &arrival.organization;
        let keys = writing.keys_of(subject.patient)?;
        let key = self.key_of(arrival, subject.patient, "Patient", &subject.logical_id)?;
        let current = self.store().snapshot().current(&key).map_err(ExchangeError::store)?;
        let alive = current.as_ref().filter(|stored| !stored.sealed.deleted);
        let before = match alive {
            Some(stored) => {
                Some(self.open_body(organization.id(), &subject.logical_id, stored, keys)?.0)
            }
            None => None,
        };
        let mut merged = match (&before, known) {
            (Some(before), Known::Stays) => before.clone(),
            (Some(before), Known::TakenOver) => take_over(before, patient),
            _ => patient.clone(),
        };
        if let Some(before) = &before {
            holdfast_fhir::unmask_government_ids(&mut merged, before);
        }
        holdfast_fhir::rewrite_references(&mut merged, &|url| urls.get(url).cloned());
        let (listing, matched) = self.listing_for(organization, subject, &merged, &changes, *now);
        let named = self.identifier_keys(organization, &merged);
        if let Some(before) = &before {
            self.unlocate(organization, before, &named, subject.patient, draft)?;
        }
        for locate in named {
            self.locate_row(locate, subject.patient, draft)?;
        }
        draft.matched = matched;
        if matched == Matched::Review {
            draft.reviews.push(draft.listings.len());
        }
        draft.rows.push(listing.row(self.features_key(), organization.ordinal)?);
        draft.listings.push(listing);
        let was = self.posted(organization, alive, keys)?;
        let current = current.map(|stored| (stored.sealed.version, stored.sealed.last_updated));
        let id = &*subject.logical_id;
        let slot = Slot { entry, key, id, current, before, was, deletes: false };
        self.put(writing, slot, merged, draft)
    }

    fn draft_resource(
        &self,
        writing: &Writing<'_>,
        item: &Placed<'_>,
        draft: &mut Draft,
    ) -> Result<(), ExchangeError> {
        let Writing { arrival, urls, .. } = writing;
        let keys = writing.keys_of(item.subject.patient)?;
        let mut resource = item.source.resource.clone();
        holdfast_fhir::rewrite_references(&mut resource, &|url| urls.get(url).cloned());
        let resource_type = item.source.resource_type().to_owned();
        if arrival.format != Format::Fhir
            && let Some(error) =
                holdfast_fhir::validate(&resource).into_iter().find(super::is_error)
        {
            let place = error.expression;
            draft
                .issues
                .push(Issue::error(place, "left out: the converted resource is not valid FHIR"));
            return Ok(());
        }
        let key = self.key_of(arrival, item.subject.patient, &resource_type, &item.id)?;
        let current = self.store().snapshot().current(&key).map_err(ExchangeError::store)?;
        let alive = current.as_ref().filter(|stored| !stored.sealed.deleted);
        let before = match alive {
            Some(stored) => {
                Some(self.open_body(arrival.organization.id(), &item.id, stored, keys)?.0)
            }
            None => None,
        };
        // A directory entry that is known already changes nothing.
        let keeps = arrival.format != Format::Fhir && item.subject.patient == PatientId::NONE;
        if let (Some(before), true) = (&before, keeps) {
            resource = before.clone();
        }
        let was = self.posted(&arrival.organization, alive, keys)?;
        let current = current.map(|stored| (stored.sealed.version, stored.sealed.last_updated));
        let (entry, id) = (item.source.entry, &*item.id);
        let slot = Slot { entry, key, id, current, before, was, deletes: false };
        self.put(writing, slot, resource, draft)
    }

    /// Seals one resource into the draft, unless it is what is stored already. Of one
    /// that is to be deleted, its type and id are sealed.
    pub(super) fn put(
        &self,
        writing: &Writing<'_>,
        slot: Slot<'_>,
        resource: Value,
        draft: &mut Draft,
    ) -> Result<(), ExchangeError> {
        let Writing { arrival, now, .. } = writing;
        let Slot { entry, key, id, current, before, was, deletes } = slot;
        let (keys, now) = (writing.keys_of(key.patient)?, *now);
        let resource_type = resource["resourceType"].as_str().unwrap_or_default().to_owned();
        let same = before.as_ref().is_some_and(|before| content(before) == content(&resource));
        let changed = deletes || !same;
        let (last, last_updated) = current.unwrap_or((0, now));
        let current = current.map(|(version, _)| version);
        let version = if changed { last + 1 } else { last };
        draft.written.push(Written {
            entry,
            resource_type: resource_type.clone(),
            id: id.to_owned(),
            version,
            created: before.is_none(),
            changed,
            deleted: deletes,
            last_updated: if changed { now } else { last_updated },
        });
        if !changed {
            return Ok(());
        }
        let organization = arrival.organization.id();
        // What says that something was deleted is no less secret than that was.
        let class =
            holdfast_fhir::class_of(before.as_ref().filter(|_| deletes).unwrap_or(&resource));
        let resource = if deletes { json!({ "resourceType": resource_type }) } else { resource };
        let mut body = with_meta(resource, id, version, now, arrival.message.0);
        let apart = holdfast_fhir::split_government_ids(&mut body);
        let entries = if deletes { Vec::new() } else { search::index(&body) };
        let posted = population::posted(&key, class, id, now, &resource_type, &entries);
        draft.delta.replace(was, posted.filter(|_| !deletes));
        let index = search::encode(&entries);
        if !deletes && self.has_listeners(organization) {
            draft.news.push(News {
                patient: key.patient,
                resource_type: resource_type.clone(),
                id: id.to_owned(),
                version,
                class,
                at: now,
                status: body["status"].as_str().map(str::to_owned),
                was: before.as_ref().and_then(|b| b["status"].as_str()).map(str::to_owned),
                index: index.clone(),
            });
        }
        let token = data_encoding::HEXLOWER.encode(&key.id_token);
        let bound_type = cover::bound_type(&key)?;
        let context = |class, part| SealContext {
            organization,
            patient: key.patient,
            resource_type: &bound_type,
            // A search knows a row's token before it knows its id.
            id: if part == "index" { &token } else { id },
            version,
            class,
            part,
        };
        // What is kept apart lies, sealed by its own key, within the body: that it is
        // there does not show.
        let apart_class = ElementClass::GovernmentId;
        let inner = match &apart {
            Some(apart) => {
                let key = keys.class(apart_class)?;
                Some(key.seal(&context(apart_class, "body"), &packing::compress(apart)?))
            }
            None => None,
        };
        let packed = packing::pack_around(&body, inner.as_deref())?;
        let sealed_body = keys.class(class)?.seal(&context(class, "body"), &packed);
        let id_told = id.to_owned();
        let row = if key.type_code == cover::UNTOLD_TYPE {
            let resource_type = resource_type.clone();
            postcard::to_stdvec(&IndexPlain { resource_type, id: id_told, entries: index })
        } else {
            postcard::to_stdvec(&FormerIndexPlain { id: id_told, entries: index })
        };
        let row = row.map_err(|_| ExchangeError::Internal("an index row does not serialise"))?;
        let row = packing::pack_row(&row)?;
        // The row is opened by every search of the type, so it is sealed under the
        // class that such a search is permitted: the body's own.
        let labels = Labels::of(&arrival.organization, &key, version);
        let first = sizes::masked(labels.label(class));
        let index =
            [&[first][..], &keys.class(class)?.seal(&context(class, "index"), &row)].concat();
        let classes: ClassSet = [class].into_iter().chain(apart.map(|_| apart_class)).collect();
        let parts = vec![(labels.label(class), sealed_body)];
        let touches = if deletes { &mut draft.removed } else { &mut draft.touches };
        touches.entry(key.patient).or_default().push(Touch {
            resource_type: resource_type.clone(),
            id: id.to_owned(),
            version,
            classes,
        });
        let expected = draft.expects(&key).unwrap_or(current);
        draft.preconditions.push(Precondition::CurrentVersion { key, expected });
        let locate = self.resource_key(&arrival.organization, &format!("{resource_type}/{id}"));
        self.locate_row(locate, key.patient, draft)?;
        let id_sealed = Vec::new();
        let sealed =
            SealedVersion { version, deleted: deletes, last_updated: now, parts, index, id_sealed };
        draft.puts.push((key, sealed));
        Ok(())
    }

    /// Takes away the rows by which the identifiers of `before` lead to the record,
    /// except those that are `named` still.
    pub(super) fn unlocate(
        &self,
        organization: &Organization,
        before: &Value,
        named: &[Vec<u8>],
        patient: PatientId,
        draft: &mut Draft,
    ) -> Result<(), ExchangeError> {
        for key in self.identifier_keys(organization, before) {
            if !named.contains(&key) && self.located_by(&key)? == Some(patient) {
                draft.rows.push(RowWrite { table: Table::Locate, key, value: None });
            }
        }
        Ok(())
    }

    /// Says where something lies; clashes when another record has it already.
    pub(super) fn locate_row(
        &self,
        key: Vec<u8>,
        patient: PatientId,
        draft: &mut Draft,
    ) -> Result<(), ExchangeError> {
        let value = patient.as_bytes().to_vec();
        if draft.rows.iter().any(|row| row.table == Table::Locate && row.key == key) {
            return Ok(());
        }
        match self.located_by(&key)? {
            Some(there) if there == patient => return Ok(()),
            // Another record has this identifier: the first one that had it keeps it.
            Some(_) => return Ok(()),
            None => {}
        }
        draft
            .preconditions
            .push(Precondition::RowAbsent { table: Table::Locate, key: key.clone() });
        draft.rows.push(RowWrite { table: Table::Locate, key, value: Some(value) });
        Ok(())
    }

    /// ADT A18, A34, A40: the retired records' identifiers lead to the survivor,
    /// and both records belong to one person. Nothing is re-sealed.
    async fn draft_merge(
        &self,
        arrival: &Arrival<'_>,
        retired: &[Value],
        survivor: &Subject,
        draft: &mut Draft,
    ) -> Result<(), ExchangeError> {
        let person = draft.listings.first().map(|l| l.person);
        for identifier in retired {
            let Some(key) = self.identifier_key(&arrival.organization, identifier) else {
                continue;
            };
            let Some(former) = self.located_by(&key)?.filter(|p| *p != survivor.patient) else {
                continue;
            };
            let value = survivor.patient.as_bytes().to_vec();
            draft.rows.push(RowWrite { table: Table::Locate, key, value: Some(value) });
            let listing = self.directory().read().get(arrival.organization.id(), former);
            if let (Some(listing), Some(person)) = (listing, person) {
                let mut listing = Listing::clone(&listing);
                listing.person = person;
                listing.merged_into = Some(survivor.logical_id.clone());
                draft.rows.push(listing.row(self.features_key(), arrival.organization.ordinal)?);
                draft.listings.push(listing);
            }
        }
        Ok(())
    }

    pub(super) fn key_of(
        &self,
        arrival: &Arrival<'_>,
        patient: PatientId,
        resource_type: &str,
        id: &str,
    ) -> Result<ResourceKey, ExchangeError> {
        self.store_key(&arrival.organization, patient, resource_type, id)
    }
}

impl Draft {
    /// The version that an earlier put of this draft leaves behind.
    fn expects(&self, key: &ResourceKey) -> Option<Option<u64>> {
        let earlier = self.puts.iter().rev().find(|(put, _)| put == key);
        earlier.map(|(_, sealed)| Some(sealed.version))
    }
}

/// An index row whose key does not tell the type, before it is sealed.
#[derive(serde::Serialize, serde::Deserialize)]
pub(crate) struct IndexPlain {
    pub resource_type: String,
    pub id: String,
    pub entries: Vec<u8>,
}

/// An index row whose key tells the type, before it is sealed.
#[derive(serde::Serialize, serde::Deserialize)]
pub(crate) struct FormerIndexPlain {
    pub id: String,
    pub entries: Vec<u8>,
}

/// The resource with its id and the server's meta elements, in the order in
/// which people expect them.
fn with_meta(resource: Value, id: &str, version: u64, now: Timestamp, message: u64) -> Value {
    let Value::Object(mut fields) = resource else { return resource };
    let mut meta = match fields.shift_remove("meta") {
        Some(Value::Object(meta)) => meta,
        _ => Map::new(),
    };
    meta.insert("versionId".into(), version.to_string().into());
    meta.insert("lastUpdated".into(), now.to_string().into());
    meta.entry("source").or_insert_with(|| format!("urn:holdfast:message:{message}").into());
    let mut ordered = Map::new();
    if let Some(name) = fields.shift_remove("resourceType") {
        ordered.insert("resourceType".into(), name);
    }
    fields.shift_remove("id");
    ordered.insert("id".into(), id.into());
    ordered.insert("meta".into(), Value::Object(meta));
    ordered.extend(fields);
    Value::Object(ordered)
}

/// What a resource says, without what the server adds.
fn content(resource: &Value) -> Value {
    let mut resource = resource.clone();
    if let Some(fields) = resource.as_object_mut() {
        fields.shift_remove("id");
        if let Some(meta) = fields.get_mut("meta").and_then(Value::as_object_mut) {
            ["versionId", "lastUpdated", "source"].iter().for_each(|name| drop(meta.remove(*name)));
            if meta.is_empty() {
                fields.shift_remove("meta");
            }
        }
    }
    resource
}

/// The demographics of `newer`, with the identifiers of both.
fn take_over(before: &Value, newer: &Value) -> Value {
    let mut merged = newer.clone();
    let mut identifiers: Vec<Value> = newer["identifier"].as_array().cloned().unwrap_or_default();
    for known in before["identifier"].as_array().into_iter().flatten() {
        let same = |i: &&Value| i["system"] == known["system"] && i["value"] == known["value"];
        if !identifiers.iter().any(|i| same(&i)) {
            identifiers.push(known.clone());
        }
    }
    if let (Some(fields), false) = (merged.as_object_mut(), identifiers.is_empty()) {
        fields.insert("identifier".into(), identifiers.into());
    }
    merged
}
