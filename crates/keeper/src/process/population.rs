//! Searches over an organization's patients, and the upkeep of their index.
//!
//! Invariants: nothing is answered before its `population-query` entry is durable;
//! whoever is told patients is charged for them; who is only told a number is not.

use std::collections::BTreeSet;
use std::sync::Arc;

use holdfast_base::{PatientId, Purpose, RequestId, Timestamp};
use holdfast_ledger::{Actor, Event};

use super::release::budget_alert;
use super::scribe::{Decided, Outcome, Scribe, Task, entry};
use super::server::Shared;
use crate::error::{Malformed, Refused};
use crate::population::{
    IndexError, IndexedResource, Merge, MergeStep, Needed, Question, Search, Step, Waiting,
};
use crate::protocol::{PopulationAnswer, PopulationRequest, REASON_BYTES_MAX, WireSearch};
use crate::table::Organization;

/// Conditions of one search, and ranges of all of them.
const RANGES_MAX: usize = 4_096;
/// Runs and deltas that one search may look at.
const SOURCES_MAX: usize = 65_536;

/// Who searches, and what the entry will say of it.
pub(super) struct Asking {
    actor: Actor,
    role: String,
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
        PopulationRequest::Search(asked) => (begin_search(shared, *asked)?, Vec::new()),
        PopulationRequest::Merge(asked) => {
            if asked.runs.len() + asked.deltas.len() > SOURCES_MAX {
                return Err(Malformed::TooMany.into());
            }
            let step = MergeStep {
                organization: asked.organization,
                runs: asked.runs,
                deltas: asked.deltas,
                output: asked.output,
                step: asked.step,
                first_block: asked.first_block,
                first_piece: asked.first_piece,
            };
            (Waiting::Merge(Box::new(Merge::new(step))), Vec::new())
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

fn begin_search(shared: &Shared, asked: WireSearch) -> Result<Waiting<Box<Asking>>, Refused> {
    let ranges: usize = asked.conditions.iter().map(|condition| condition.ranges.len()).sum();
    let told = asked.parameters.iter().chain([&asked.resource_type, &asked.role]);
    if told.map(String::len).sum::<usize>() > REASON_BYTES_MAX {
        return Err(Malformed::ReasonTooLong.into());
    }
    if ranges > RANGES_MAX || asked.runs.len() + asked.deltas.len() > SOURCES_MAX {
        return Err(Malformed::TooMany.into());
    }
    let asking = Asking {
        actor: asked.actor.into(),
        role: asked.role,
        request: asked.request,
        organization: shared.organization(&asked.organization)?,
        resource_type: asked.resource_type,
        parameters: asked.parameters,
        purpose: asked.purpose,
    };
    let question = Question {
        organization: asked.organization,
        conditions: asked.conditions,
        everything: asked.everything,
        classes: asked.classes,
        as_of: asked.as_of,
        runs: asked.runs,
        deltas: asked.deltas,
        page: asked.page,
    };
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

/// Whether the answer may be told, with its entry.
pub(super) fn decide(scribe: &mut Scribe, found: Finding, now: Timestamp) -> Decided {
    let Finding { asking, total, patients } = found;
    let principal = &asking.actor.principal;
    let refuse = |reason: &str, refused: Refused, alert: Option<Event>| {
        let refusal = Event::Refusal {
            door: "keeper".to_owned(),
            reason: reason.to_owned(),
            patient: None,
            organization: Some(asking.organization.id.clone()),
        };
        let events = std::iter::once(refusal).chain(alert);
        let entries = events.map(|event| entry(now, &asking.actor, Some(asking.request), event));
        Decided::with(entries.collect(), Err(refused))
    };
    if scribe.standing.is_suspended(principal) {
        return refuse("suspended", Refused::Suspended { principal: principal.clone() }, None);
    }
    let budget = scribe.standing.budget(principal, &asking.role);
    if let Err(over) = scribe.usages.of(principal).admit(budget, &patients, now) {
        let alert = budget_alert(principal, over);
        let (window, limit) = (over.window, over.limit);
        let refused = Refused::OverBudget { principal: principal.clone(), window, limit };
        return refuse("over-budget", refused, Some(alert));
    }
    let event = Event::PopulationQuery {
        organization: asking.organization.id.clone(),
        resource_type: asking.resource_type,
        parameters: asking.parameters,
        purpose: asking.purpose,
        matches_count: total,
        named: patients,
    };
    let entries = vec![entry(now, &asking.actor, Some(asking.request), event)];
    Decided::with(entries, Ok(Outcome::Done))
}
