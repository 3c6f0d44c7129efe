//! Deciding, for every entry of a transaction, which resource it means and whose that
//! is, before anything is written.

use std::collections::{BTreeMap, HashMap, HashSet};

use holdfast_base::{ElementClass, PatientId, RequestId};
use holdfast_fhir::{
    class_of, compartment_patient, parse_reference, references, rewrite_references,
};
use holdfast_intake::Issue;
use serde_json::Value;

use super::asked::{Asked, Method, decode};
use super::conditional::Standing;
use super::{documents, refuse};
use crate::ExchangeError;
use crate::admit::{Arrival, Subject};
use crate::disclose::{is_about_no_patient, nobodys};
use crate::state::Exchange;

/// What becomes of an entry's resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Deed {
    /// The resource in the entry is written.
    Write,
    /// The patch in the entry is applied to what is stored.
    Patch,
    /// What is stored is deleted.
    Delete,
    /// A conditional create found its resource: it stays as it is.
    Keep,
    /// There is nothing to delete.
    Nothing,
}

/// One entry with all that was decided about it.
pub(super) struct Step<'a> {
    pub asked: Asked<'a>,
    pub deed: Deed,
    pub id: String,
    pub standing: Option<Standing>,
    pub owner: Subject,
    /// What is to be written, its references resolved.
    pub resource: Value,
}

/// A transaction, decided.
pub(super) struct Plan<'a> {
    pub steps: Vec<Step<'a>>,
    /// Where references of the payload lead.
    pub urls: HashMap<String, String>,
    pub issues: Vec<Issue>,
}

/// What an entry means, before it is known whose it is.
struct Meant<'a> {
    asked: Asked<'a>,
    deed: Deed,
    /// `None`: it is new, and gets an id.
    id: Option<String>,
    standing: Option<Standing>,
}

impl Exchange {
    /// Whether a Patient among the entries may be a new record.
    pub(super) fn brings_newcomers(
        &self,
        arrival: &Arrival<'_>,
        asked: &[Asked<'_>],
    ) -> Result<bool, ExchangeError> {
        for entry in asked.iter().filter(|asked| asked.kind == "Patient") {
            let newcomer = match (entry.method, entry.id) {
                (Method::Create, _) | (Method::Update, None) => {
                    let patient = &entry.source.resource;
                    self.subject(&arrival.organization, patient)?.known.is_none()
                }
                (Method::Update, Some(id)) => {
                    self.subject_named(&arrival.organization, id)?.known.is_none()
                }
                _ => false,
            };
            if newcomer {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Decides about every entry.
    pub(super) async fn plan<'a>(
        &self,
        arrival: &Arrival<'_>,
        asked: Vec<Asked<'a>>,
    ) -> Result<Plan<'a>, ExchangeError> {
        let mut meant = Vec::with_capacity(asked.len());
        for entry in asked {
            meant.push(self.meant(arrival, entry).await?);
        }
        let patients = self.patients_of(arrival, &mut meant)?;
        let mut issues = Vec::new();
        let found = self.resolve_conditional(arrival, &meant, &mut issues).await?;
        let kinds = kinds_by_url(&meant);
        let mut urls = found;
        let with = companions(&meant);
        // What goes with another entry comes after it.
        let mut order: Vec<usize> = (0..meant.len()).collect();
        order.sort_by_key(|place| with.contains_key(place));
        let mut owners: Vec<Option<Subject>> = vec![None; meant.len()];
        for place in order {
            let shared = with.get(&place).and_then(|other| owners[*other].clone());
            let entry = &mut meant[place];
            let owner = match shared {
                Some(owner) => owner,
                None => self.entry_owner(arrival, place, entry, &kinds, &patients, &urls)?,
            };
            if entry.id.is_none() {
                let natural =
                    entry.asked.source.natural_key.as_ref().filter(|_| !arrival.interaction);
                entry.id = Some(match natural {
                    Some(natural) => self.stable_id(arrival, &owner, natural),
                    None => RequestId::random().to_string(),
                });
                if natural.is_some() {
                    let id = entry.id.as_deref().unwrap_or_default();
                    let snapshot = self.store().snapshot();
                    entry.standing = self.standing(arrival, &snapshot, entry.asked.kind, id)?;
                    let there = entry.standing.is_some_and(|standing| standing.alive);
                    if there && entry.asked.criteria.is_some() {
                        entry.deed = Deed::Keep;
                    }
                }
            }
            owners[place] = Some(owner);
        }
        refuse_overlaps(&meant)?;
        for entry in &meant {
            if matches!(entry.deed, Deed::Write | Deed::Keep) {
                add_urls(entry, &mut urls);
            }
        }
        let mut steps = Vec::with_capacity(meant.len());
        let restricted = restricted(&meant, &with);
        for (place, (entry, owner)) in
            meant.into_iter().zip(owners.into_iter().flatten()).enumerate()
        {
            let Meant { asked, deed, id, standing } = entry;
            let id = id.unwrap_or_default();
            let mut resource = Value::Null;
            if deed == Deed::Write {
                resource = asked.source.resource.clone();
                rewrite_references(&mut resource, &|url| resolved(&urls, url));
                if restricted.contains(&place) {
                    documents::restrict(&mut resource);
                }
            }
            if deed == Deed::Write {
                refuse_move(&asked, &owner, standing)?;
            }
            steps.push(Step { asked, deed, id, standing, owner, resource });
        }
        Ok(Plan { steps, urls, issues })
    }

    /// Which stored resource an entry means, and whether its conditions are met.
    async fn meant<'a>(
        &self,
        arrival: &Arrival<'_>,
        asked: Asked<'a>,
    ) -> Result<Meant<'a>, ExchangeError> {
        let (entry, kind) = (asked.entry, asked.kind);
        let mut id = asked.id.map(str::to_owned);
        let mut matched = false;
        if let Some(criteria) = asked.criteria.as_ref().filter(|_| !names_itself(arrival, &asked)) {
            let part = if asked.method == Method::Create {
                ".request.ifNoneExist"
            } else {
                ".request.url"
            };
            let found = self.fitting(arrival, kind, criteria, (entry, part)).await?;
            match <[String; 1]>::try_from(found) {
                Ok([one]) => {
                    let own = asked.source.resource["id"].as_str();
                    if asked.method == Method::Update && own.is_some_and(|own| own != one) {
                        let text = "is not the id of the resource that fits the criteria";
                        return Err(refuse("request", entry, ".resource.id", text));
                    }
                    (id, matched) = (Some(one), true);
                }
                Err(none) if none.is_empty() => {
                    let own = asked.source.resource["id"].as_str();
                    id = own.filter(|_| asked.method == Method::Update).map(str::to_owned);
                }
                Err(_) => {
                    return Err(refuse("several-matches", entry, part, "fits several resources"));
                }
            }
        }
        let snapshot = self.store().snapshot();
        let standing = match &id {
            Some(id) => self.standing(arrival, &snapshot, kind, id)?,
            None => None,
        };
        let alive = standing.filter(|standing| standing.alive);
        if asked.criteria.is_some() && !matched && asked.method == Method::Update && alive.is_some()
        {
            let text = "is the id of a resource that does not fit the criteria";
            return Err(refuse("conflict", entry, ".resource.id", text));
        }
        let deed = match (asked.method, alive) {
            (Method::Create, Some(_)) if matched => Deed::Keep,
            (Method::Create | Method::Update, _) => Deed::Write,
            (Method::Delete, Some(_)) => Deed::Delete,
            (Method::Delete, None) => Deed::Nothing,
            (Method::Patch, Some(_)) => Deed::Patch,
            (Method::Patch, None) => {
                let category = if standing.is_some() { "deleted" } else { "not-found" };
                return Err(refuse(category, entry, ".request.url", "names nothing to patch"));
            }
        };
        if let Some(expected) = asked.if_match
            && alive.and_then(|standing| standing.version) != Some(expected)
        {
            let text = "names another version than the current one";
            return Err(refuse("precondition", entry, ".request.ifMatch", text));
        }
        if asked.if_none && alive.is_some() {
            let text = "asks for none to be there, and there is one";
            return Err(refuse("precondition", entry, ".request.ifNoneMatch", text));
        }
        Ok(Meant { asked, deed, id, standing })
    }

    /// The records of the Patients among the entries, by place. Gives new ones their id.
    fn patients_of(
        &self,
        arrival: &Arrival<'_>,
        meant: &mut [Meant<'_>],
    ) -> Result<BTreeMap<usize, Subject>, ExchangeError> {
        let organization = &arrival.organization;
        let mut patients: BTreeMap<usize, Subject> = BTreeMap::new();
        let mut identifiers = HashSet::new();
        for (place, entry) in meant.iter_mut().enumerate() {
            if entry.asked.kind != "Patient" || entry.deed == Deed::Nothing {
                continue;
            }
            let subject = match &entry.id {
                Some(id) => self.subject_named(organization, id)?,
                None => self.subject(organization, &entry.asked.source.resource)?,
            };
            let at = entry.asked.entry;
            let identical = "is a Patient that another entry of the transaction is, too";
            if patients.values().any(|known| known.patient == subject.patient) {
                return Err(refuse("request", at, ".resource", identical));
            }
            if entry.deed == Deed::Write {
                let keys = self.identifier_keys(organization, &entry.asked.source.resource);
                for key in keys.into_iter().collect::<HashSet<_>>() {
                    if !identifiers.insert(key) {
                        return Err(refuse("request", at, ".resource.identifier", identical));
                    }
                }
            }
            if entry.id.is_none() {
                entry.id = Some(subject.logical_id.clone());
                let snapshot = self.store().snapshot();
                entry.standing =
                    self.standing(arrival, &snapshot, "Patient", &subject.logical_id)?;
            }
            patients.insert(place, subject);
        }
        Ok(patients)
    }

    /// Resolves `Type?criteria` wherever it stands as a reference.
    async fn resolve_conditional(
        &self,
        arrival: &Arrival<'_>,
        meant: &[Meant<'_>],
        issues: &mut Vec<Issue>,
    ) -> Result<HashMap<String, String>, ExchangeError> {
        let mut found = HashMap::new();
        let mut left = HashSet::new();
        for entry in meant.iter().filter(|entry| entry.deed == Deed::Write) {
            for reference in references(&entry.asked.source.resource) {
                let Some((kind, query)) = reference.split_once('?') else { continue };
                if found.contains_key(reference)
                    || left.contains(reference)
                    || holdfast_fhir::type_code(kind).is_none()
                {
                    continue;
                }
                let at = (entry.asked.entry, ".resource");
                let not_text = || refuse("request", at.0, at.1, "has a reference that is no text");
                let criteria = decode(query).ok_or_else(not_text)?;
                let fitting = match self.fitting(arrival, kind, &criteria, at).await {
                    Err(ExchangeError::EntryRefused { .. }) if !arrival.interaction => Vec::new(),
                    fitting => fitting?,
                };
                let problem = match fitting.as_slice() {
                    [one] => {
                        found.insert(reference.to_owned(), format!("{kind}/{one}"));
                        continue;
                    }
                    [] => ("unmatched-reference", "has a conditional reference that fits nothing"),
                    _ => ("several-matches", "has a conditional reference that fits several"),
                };
                // A message is not lost for what it refers to; a transaction fails.
                if arrival.interaction {
                    return Err(refuse(problem.0, at.0, at.1, problem.1));
                }
                issues.push(Issue::warning(format!("Bundle.entry[{}]", at.0), problem.1));
                left.insert(reference.to_owned());
            }
        }
        Ok(found)
    }

    /// Whose record an entry belongs to.
    fn entry_owner(
        &self,
        arrival: &Arrival<'_>,
        place: usize,
        entry: &Meant<'_>,
        kinds: &HashMap<String, usize>,
        patients: &BTreeMap<usize, Subject>,
        found: &HashMap<String, String>,
    ) -> Result<Subject, ExchangeError> {
        if let Some(subject) = patients.get(&place) {
            return Ok(subject.clone());
        }
        let standing = match (entry.deed, entry.standing) {
            (Deed::Write, _) => None,
            (Deed::Nothing | Deed::Keep, _) => return Ok(Subject::nobody(PatientId::NONE)),
            (_, standing) => standing,
        };
        if let Some(standing) = standing {
            if standing.patient.is_nobody() {
                return Ok(Subject::nobody(standing.patient));
            }
            return self.known_subject(&arrival.organization, standing.patient);
        }
        let resource = &entry.asked.source.resource;
        for reference in compartment_patient(resource) {
            if let Some(target) = kinds.get(&reference) {
                match patients.get(target) {
                    Some(subject) => return Ok(subject.clone()),
                    None => continue,
                }
            }
            let literal = found.get(&reference).unwrap_or(&reference);
            if parse_reference(literal).is_none_or(|parts| parts.resource_type == "Patient") {
                return self.patient_at(arrival, entry.asked.entry, literal, patients);
            }
        }
        // What names no patient stays where it is; new, it is the one patient's of the
        // transaction, unless it is of a kind that is about no patient.
        let kind = entry.asked.kind;
        if let Some(standing) = entry.standing.filter(|standing| standing.alive)
            && !standing.patient.is_nobody()
        {
            return self.known_subject(&arrival.organization, standing.patient);
        }
        let mut written = patients.values();
        match (written.next(), written.next()) {
            (Some(only), None) if !is_about_no_patient(kind) => Ok(only.clone()),
            _ => nobodys(resource).map_err(|error| within(error, entry.asked.entry)),
        }
    }

    /// The record of a patient whom the payload refers to.
    fn patient_at(
        &self,
        arrival: &Arrival<'_>,
        entry: usize,
        reference: &str,
        patients: &BTreeMap<usize, Subject>,
    ) -> Result<Subject, ExchangeError> {
        let own = reference.strip_prefix("Patient/");
        if let Some(subject) = patients.values().find(|known| Some(&*known.logical_id) == own) {
            return Ok(subject.clone());
        }
        let located = self.locate(&arrival.organization, reference)?;
        let subject = match located {
            Some(patient) => self.known_subject(&arrival.organization, patient)?,
            None => return Err(unknown(entry)),
        };
        if subject.known.as_ref().is_some_and(|known| known.deleted) {
            return Err(unknown(entry));
        }
        Ok(subject)
    }
}

/// Whether an entry of a message is to be made unless there is one with its own
/// identifier: its id follows from that, so nothing needs to be searched.
fn names_itself(arrival: &Arrival<'_>, asked: &Asked<'_>) -> bool {
    let own = |value: &str| {
        let identifiers = asked.source.resource["identifier"].as_array().into_iter().flatten();
        let mut texts = identifiers.filter_map(|identifier| {
            let (system, value) = (identifier["system"].as_str()?, identifier["value"].as_str()?);
            Some(format!("{system}|{value}"))
        });
        texts.any(|text| text == value)
    };
    let of_message = !arrival.interaction && asked.kind != "Patient";
    let can = asked.method == Method::Create && asked.source.natural_key.is_some();
    match asked.criteria.as_deref() {
        Some([(name, value)]) => of_message && can && name == "identifier" && own(value),
        _ => false,
    }
}

/// The entries that name no patient and are written for the first time, with the
/// entry whose record they lie in.
fn companions(meant: &[Meant<'_>]) -> HashMap<usize, usize> {
    let entries: Vec<_> = meant
        .iter()
        .map(|entry| (entry.asked.source.full_url.as_str(), &entry.asked.source.resource))
        .collect();
    let mut found = documents::companions(&entries);
    found.retain(|place, _| {
        let entry = &meant[*place];
        let is_new = entry.deed == Deed::Write && entry.standing.is_none();
        is_new && compartment_patient(&entry.asked.source.resource).is_empty()
    });
    found
}

/// The documents that are not restricted by themselves, and are by what points to them.
fn restricted(meant: &[Meant<'_>], with: &HashMap<usize, usize>) -> HashSet<usize> {
    let class = |place: usize| class_of(&meant[place].asked.source.resource);
    let is_restricted = |place: usize| class(place) == ElementClass::Restricted;
    with.iter()
        .filter(|(place, _)| matches!(meant[**place].asked.kind, "Binary" | "Bundle"))
        .filter(|(place, other)| is_restricted(**other) && !is_restricted(**place))
        .map(|(place, _)| *place)
        .collect()
}

fn unknown(entry: usize) -> ExchangeError {
    let text = "refers to a patient who is not there or may not be written about";
    refuse("unknown-reference", entry, ".resource", text)
}

/// A refusal of a resource, placed in its entry.
fn within(error: ExchangeError, entry: usize) -> ExchangeError {
    match error {
        ExchangeError::EntryRefused { category, place, text } => {
            let path = place.split_once('.').map_or("", |(_, path)| path);
            refuse(category, entry, &format!(".resource.{path}"), text)
        }
        other => other,
    }
}

/// The places of entries by everything that they are referred to by.
fn kinds_by_url(meant: &[Meant<'_>]) -> HashMap<String, usize> {
    let mut kinds = HashMap::new();
    for (place, entry) in meant.iter().enumerate() {
        if !matches!(entry.deed, Deed::Write | Deed::Keep) {
            continue;
        }
        let full_url = &entry.asked.source.full_url;
        if let Some(parts) = parse_reference(full_url) {
            kinds.entry(format!("{}/{}", parts.resource_type, parts.id)).or_insert(place);
        }
        kinds.insert(full_url.clone(), place);
        if let Some(id) = &entry.id {
            kinds.insert(format!("{}/{id}", entry.asked.kind), place);
        }
    }
    kinds
}

/// Where references to an entry lead.
fn add_urls(entry: &Meant<'_>, urls: &mut HashMap<String, String>) {
    let Some(id) = &entry.id else { return };
    let place = format!("{}/{id}", entry.asked.kind);
    let full_url = &entry.asked.source.full_url;
    // Within an entry, `Type/id` is relative to its full URL (bundle.html#references).
    if let Some(parts) = parse_reference(full_url) {
        let relative = format!("{}/{}", parts.resource_type, parts.id);
        urls.entry(relative).or_insert_with(|| place.clone());
    }
    urls.insert(full_url.clone(), place);
}

/// Where a reference of the payload leads; what follows a `#` stays.
fn resolved(urls: &HashMap<String, String>, reference: &str) -> Option<String> {
    if let Some(there) = urls.get(reference) {
        return Some(there.clone());
    }
    let (url, fragment) = reference.split_once('#')?;
    urls.get(url).map(|there| format!("{there}#{fragment}"))
}

/// No resource may be meant by two entries (http.html#trules).
fn refuse_overlaps(meant: &[Meant<'_>]) -> Result<(), ExchangeError> {
    let mut seen = HashSet::new();
    for entry in meant {
        let Some(id) = entry.id.as_deref().filter(|_| entry.deed != Deed::Keep) else { continue };
        if !seen.insert((entry.asked.kind, id)) {
            let text = "means a resource that another entry of the transaction means, too";
            return Err(refuse("request", entry.asked.entry, "", text));
        }
    }
    let mut urls = HashSet::new();
    for entry in meant.iter().filter(|entry| entry.asked.method == Method::Create) {
        if !urls.insert(&entry.asked.source.full_url) {
            let text = "is the full URL of another entry, too";
            return Err(refuse("request", entry.asked.entry, ".fullUrl", text));
        }
    }
    Ok(())
}

/// A resource stays in the record where it is: keys, history and ledger go by it.
fn refuse_move(
    asked: &Asked<'_>,
    owner: &Subject,
    standing: Option<Standing>,
) -> Result<(), ExchangeError> {
    let moves = standing.is_some_and(|standing| standing.patient != owner.patient);
    if moves {
        let text = "belongs to another record, and stays there: delete it, and create it anew";
        return Err(refuse("moved", asked.entry, ".resource", text));
    }
    Ok(())
}
