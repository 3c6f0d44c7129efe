//! Searches over an organization's patients, and the upkeep of their index.
//!
//! Invariants: nothing is looked at for somebody who may not search; nothing is
//! answered before its `population-query` entry is durable;
//! whoever is told patients is charged for them; who is only told a number is not.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use holdfast_base::{OrganizationId, PatientId, Purpose, RequestId, Timestamp};
use holdfast_ledger::Event;

use super::acts::{Claim, Denied, Identity, refusal};
use super::release;
use super::rules::Act;
use super::scribe::{Decided, Outcome, Scribe, Task, entry};
use super::server::{Shared, claim};
use crate::asked::PopulationSearch;
use crate::error::{Malformed, NotPermitted, Refused};
use crate::population::{IndexError, IndexedResource, Merge, Needed, Search, Step, Waiting};
use crate::protocol::{PopulationAnswer, PopulationRequest, REASON_BYTES_MAX};
use crate::table::Organization;

/// Conditions of one search, and ranges of all of them.
const RANGES_MAX: usize = 4_096;
/// Runs and deltas that one search may look at.
const SOURCES_MAX: usize = 65_536;

/// Who searches, and what the entry will say of it.
pub(super) struct Asking {
    claim: Claim,
    request: RequestId,
    organization: Arc<Organization>,
    resource_type: String,
    parameters: Vec<String>,
    purpose: Purpose,
}

/// A search whose answer is known and not told yet.
pub(super) struct Finding {
    asking: Asking,
    total: u64,
    patients: Vec<PatientId>,
}

impl From<IndexError> for Refused {
    fn from(error: IndexError) -> Self {
        match error {
            IndexError::Damaged => {
                Self::Fault { what: "a row of the population index is damaged".to_owned() }
            }
            IndexError::TooMany => Malformed::TooMany.into(),
        }
    }
}

/// Answers one request about the index.
pub(super) async fn answer(
    shared: &Arc<Shared>,
    request: PopulationRequest,
) -> Result<PopulationAnswer, Refused> {
    let (job, rows) = match request {
        PopulationRequest::Search(asked) => (begin_search(shared, *asked).await?, Vec::new()),
        PopulationRequest::Merge(asked) => {
            if asked.runs.len() + asked.deltas.len() > SOURCES_MAX {
                return Err(Malformed::TooMany.into());
            }
            (Waiting::Merge(Box::new(Merge::new(asked))), Vec::new())
        }
        PopulationRequest::Supply { handle, rows } => {
            let (job, needed) = shared.desk.take(handle).ok_or(Malformed::Request)?;
            if rows.len() != needed.len() {
                return Err(Malformed::Request.into());
            }
            (job, needed.into_iter().zip(rows).collect::<Vec<(Needed, Vec<u8>)>>())
        }
    };
    let working = Arc::clone(shared);
    let worked = tokio::task::spawn_blocking(move || work(&working, job, rows));
    let worked = worked.await.map_err(|error| Refused::Fault { what: error.to_string() })??;
    match worked {
        Worked::Answer(answer) => Ok(answer),
        Worked::Found(asking, total, resources) => {
            let patients: BTreeSet<PatientId> = resources.iter().map(|r| r.patient).collect();
            let patients = patients.into_iter().collect();
            shared
                .scribe(Task::Population(Box::new(Finding { asking: *asking, total, patients })))
                .await?;
            Ok(PopulationAnswer::Found { total, resources })
        }
    }
}

async fn begin_search(
    shared: &Shared,
    asked: PopulationSearch,
) -> Result<Waiting<Box<Asking>>, Refused> {
    let question = asked.question;
    let ranges: usize = question.conditions.iter().map(|condition| condition.ranges.len()).sum();
    let told = asked.parameters.iter().chain([&asked.resource_type]);
    if told.map(String::len).sum::<usize>() > REASON_BYTES_MAX {
        return Err(Malformed::ReasonTooLong.into());
    }
    if ranges > RANGES_MAX || question.runs.len() + question.deltas.len() > SOURCES_MAX {
        return Err(Malformed::TooMany.into());
    }
    let asking = Asking {
        claim: claim(asked.proof)?,
        request: asked.request,
        organization: shared.organization(&question.organization)?,
        resource_type: asked.resource_type,
        parameters: asked.parameters,
        purpose: asked.purpose,
    };
    let (claim, organization) = (asking.claim.clone(), question.organization.clone());
    shared.scribe(Task::MaySearch { claim, organization }).await?;
    Ok(Waiting::Search(Box::new(Search::new(question)), Box::new(asking)))
}

enum Worked {
    Answer(PopulationAnswer),
    Found(Box<Asking>, u64, Vec<IndexedResource>),
}

fn work(
    shared: &Shared,
    job: Waiting<Box<Asking>>,
    rows: Vec<(Needed, Vec<u8>)>,
) -> Result<Worked, Refused> {
    let id = match &job {
        Waiting::Search(search, _) => search.organization().clone(),
        Waiting::Merge(merge) => merge.organization().clone(),
    };
    let organization = shared.organization(&id)?;
    let keys = organization.population_keys();
    let is_forgotten = |patient| shared.table.is_forgotten(&id, patient);
    let caches = &shared.desk.caches;
    let need = |job, rows: Vec<Needed>| {
        let handle = shared.desk.put(job, rows.clone());
        Ok(Worked::Answer(PopulationAnswer::Need { handle, rows }))
    };
    match job {
        Waiting::Search(mut search, asking) => match search.go_on(keys, caches, rows)? {
            Step::Need(rows) => need(Waiting::Search(search, asking), rows),
            Step::Done => {
                let found = search.answer(&is_forgotten)?;
                Ok(Worked::Found(asking, found.total, found.named))
            }
        },
        Waiting::Merge(mut merge) => match merge.go_on(keys, caches, rows)? {
            Step::Need(rows) => need(Waiting::Merge(merge), rows),
            Step::Done => {
                let merged = merge.answer(keys, &is_forgotten)?;
                let (blocks, fences) = (merged.blocks, merged.fences);
                let steps = merged.steps;
                Ok(Worked::Answer(PopulationAnswer::Merged { blocks, fences, steps }))
            }
        },
    }
}

/// Who asks, when they may search over the patients of `organization`: staff of that
/// organization only.
fn identify(
    scribe: &mut Scribe,
    claim: &Claim,
    organization: &OrganizationId,
) -> Result<Identity, Denied> {
    let who = scribe.identify(claim, Act::SearchPopulation)?;
    if who.actor.organization.as_ref() == Some(organization) {
        return Ok(who);
    }
    let why = NotPermitted::OtherOrganization;
    Err(Denied { actor: Box::new(who.actor), reason: why.as_str(), refused: why.into() })
}

/// Whether a search may begin; only a refusal has an entry.
pub(super) fn may(
    scribe: &mut Scribe,
    claim: &Claim,
    organization: &OrganizationId,
    now: Timestamp,
) -> Decided {
    match identify(scribe, claim, organization) {
        Ok(_) => Decided::with(Vec::new(), Ok(Outcome::Done)),
        Err(denied) => denied.decided(Some(organization), now),
    }
}

/// Whether the answer may be told, with its entry. Asked anew: while rows were
/// brought, the session may have ended or its principal been suspended.
pub(super) fn decide(scribe: &mut Scribe, found: Finding, now: Timestamp) -> Decided {
    let Finding { asking, total, patients } = found;
    let (id, request) = (&asking.organization.id, Some(asking.request));
    let who = match identify(scribe, &asking.claim, id) {
        Ok(who) => who,
        Err(denied) => return denied.decided(Some(id), now),
    };
    let told: HashSet<PatientId> = crate::budget::distinct(&patients);
    if let Err(over) = release::admit(scribe, &who, id, &told, now) {
        let event = refusal("keeper", over.reason, None, Some(id.clone()));
        let (refused, alert) = over.told(&who.actor.principal);
        let entries = [event, alert].map(|event| entry(now, &who.actor, request, event));
        return Decided::with(entries.to_vec(), Err(refused));
    }
    let event = Event::PopulationQuery {
        organization: id.clone(),
        resource_type: asking.resource_type,
        parameters: asking.parameters,
        purpose: asking.purpose,
        matches_count: total,
        named: patients,
    };
    Decided::with(vec![entry(now, &who.actor, request, event)], Ok(Outcome::Done))
}
