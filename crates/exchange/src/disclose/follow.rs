//! Following the links of a search: chains, `_has`, `_list`
//! (FHIR R4 search.html#chaining, #has, #list).
//!
//! The inner search is answered first, in the same ways as any other, and what it
//! found takes its place. Within one record nothing but the record and what is about
//! no patient is looked at. Over all patients whom the inner search names are charged
//! to the caller's budget.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;

use holdfast_base::PatientId;
use holdfast_fhir::Issue;
use holdfast_fhir::search::{IndexValue, Link, Query};

use super::open::OpenRow;
use super::own::is_directory_type;
use super::searching::{Searching, coded};
use super::ways::{Slice, Way};
use crate::ExchangeError;

/// Resources that one step of a chain may lead through: what the next one can hear.
const LINKED_MAX: usize = 2_000;

type Linked = BTreeSet<(&'static str, String)>;
type Following<'f, T> = Pin<Box<dyn Future<Output = Result<T, ExchangeError>> + Send + 'f>>;

impl Searching<'_> {
    /// Follows every link of `query`; those that name nobody come first, because they
    /// may narrow the search to one record or to nothing.
    pub fn follow<'f>(&'f mut self, query: &'f mut Query) -> Following<'f, ()> {
        Box::pin(async move {
            loop {
                if query.is_impossible() {
                    return Ok(());
                }
                let links = query.links();
                let cheapest = links.iter().enumerate().min_by_key(|(_, (_, link))| cost(link));
                let Some((place, (_, link))) = cheapest else { return Ok(()) };
                let link = Link::clone(link);
                let record = self.record_of(query)?;
                let found = self.linked(query.resource_type(), link, record).await?;
                if found.len() > LINKED_MAX {
                    let text = format!(
                        "more than {LINKED_MAX} resources stand in the middle of a chain; narrow \
                         the search"
                    );
                    let issue = Issue::error("too-costly", "", text);
                    return Err(ExchangeError::Invalid(vec![issue]));
                }
                query.follow(place, found);
            }
        })
    }

    /// The record that every match of the search lies in, if it says so.
    fn record_of(&self, query: &Query) -> Result<Option<PatientId>, ExchangeError> {
        if is_directory_type(query.resource_type()) {
            return Ok(None);
        }
        if self.within.is_some() {
            return Ok(self.within);
        }
        match query.patient() {
            Some(id) => {
                let located = self.exchange.locate(&self.keeping, &format!("Patient/{id}"))?;
                // A Patient who is not there is found to be nobody later on.
                if query.resource_type() == "Patient" {
                    return Ok(located);
                }
                located.map(Some).ok_or(ExchangeError::NotFound)
            }
            None => Ok(None),
        }
    }

    async fn linked(
        &mut self,
        resource_type: &'static str,
        link: Link,
        record: Option<PatientId>,
    ) -> Result<Linked, ExchangeError> {
        match link {
            Link::Chain(queries) => {
                let mut found = Linked::new();
                for mut query in queries {
                    found.extend(self.named(&mut query, record).await?);
                }
                Ok(found)
            }
            Link::Has { parameter, query } => {
                self.referring(resource_type, parameter, *query, record).await
            }
            Link::List(id) => self.list(&id).await,
        }
    }

    /// Type and id of every match.
    fn named<'f>(
        &'f mut self,
        query: &'f mut Query,
        record: Option<PatientId>,
    ) -> Following<'f, Linked> {
        Box::pin(async move {
            let kind = query.resource_type();
            if record.is_none() {
                self.follow(query).await?;
                if !query.needs_document() && self.way(query)? == Way::LookUp {
                    let listed = self.listed(query)?;
                    return Ok(listed.iter().map(|l| (kind, l.logical_id.clone())).collect());
                }
                if kind == "Patient" && self.way(query)? == Way::Population {
                    return self.patients_named(query).await;
                }
            }
            let rows = self.all(query, record).await?;
            Ok(rows.into_iter().map(|row| (kind, row.id)).collect())
        })
    }

    /// Every match, opened.
    async fn all(
        &mut self,
        query: &mut Query,
        record: Option<PatientId>,
    ) -> Result<Vec<OpenRow>, ExchangeError> {
        let Some(patient) = record else {
            self.follow(query).await?;
            return Ok(self.find(query, &Slice::ALL).await?.picks);
        };
        // Within a record, its own resources are all that there is.
        let outside = self.within.replace(patient);
        let found = async {
            self.follow(query).await?;
            Ok(self.find(query, &Slice::ALL).await?.picks)
        };
        let found = found.await;
        self.within = outside;
        found
    }

    /// What the matches of `query` refer to by `parameter`, of the type that is
    /// searched.
    async fn referring(
        &mut self,
        resource_type: &'static str,
        parameter: &'static str,
        mut query: Query,
        record: Option<PatientId>,
    ) -> Result<Linked, ExchangeError> {
        if record.is_none() && resource_type == "Patient" && parameter == "patient" {
            self.follow(&mut query).await?;
            if self.way(&query)? == Way::Population {
                // A resource lies in the record of the patient whom it names so.
                query.require(parameter);
                return self.patients_named(&query).await;
            }
        }
        let rows = self.all(&mut query, record).await?;
        let Some((target_code, _)) = coded(resource_type) else { return Ok(Linked::new()) };
        let refers = |entry: &holdfast_fhir::search::IndexEntry| match &entry.value {
            IndexValue::Reference { target, id, base: None }
                if entry.param == parameter && *target == target_code =>
            {
                Some((resource_type, id.clone()))
            }
            _ => None,
        };
        Ok(rows.iter().flat_map(|row| row.entries.iter().filter_map(refers)).collect())
    }

    /// Whose records the matches of a search over all patients lie in; nothing of them
    /// is opened.
    async fn patients_named(&mut self, query: &Query) -> Result<Linked, ExchangeError> {
        let patients = self.patients_in_population(query).await?;
        let directory = self.exchange.directory().read();
        let known = |patient| {
            Some(("Patient", directory.get(self.keeping.id(), patient)?.logical_id.clone()))
        };
        Ok(patients.into_iter().filter_map(known).collect())
    }

    /// The entries of a List that the caller may see.
    async fn list(&mut self, id: &str) -> Result<Linked, ExchangeError> {
        let Some(row) = self.row_of("List", id, PatientId::NONE).await? else {
            return Ok(Linked::new());
        };
        let list = self.show(&row).await?.resource;
        let items = list["entry"].as_array().into_iter().flatten();
        let named = items.filter(|entry| entry["deleted"] != true).filter_map(|entry| {
            let reference = entry["item"]["reference"].as_str()?;
            let parts = holdfast_fhir::parse_reference(reference)?;
            let (_, kind) = coded(parts.resource_type).filter(|_| parts.base.is_empty())?;
            Some((kind, parts.id.to_owned()))
        });
        Ok(named.collect())
    }
}

/// How much following a link may name or open: less comes first.
fn cost(link: &Link) -> u8 {
    let of_query = |query: &Query| match query.resource_type() {
        kind if is_directory_type(kind) => 1,
        "Patient" if query.is_linked() => 4,
        "Patient" if query.lookup().is_ok() => 0,
        _ if query.patient().is_some() => 2,
        _ => 5,
    };
    match link {
        Link::List(_) => 0,
        Link::Chain(queries) => queries.iter().map(of_query).max().unwrap_or(0),
        Link::Has { query, .. } => of_query(query),
    }
}
